package broker

import mqtt "github.com/mochi-mqtt/server/v2"

// hook is the one hook mochi has. There must be no second: of several hooks' answers to authentication and access it takes any yes.
// mochi calls it from the goroutine of the client concerned, except for OnACLCheck of deliveries, OnSelectSubscribers and OnQosPublish, which run in
// the publisher's, and OnRetainedExpired and delayed OnWillSent, which run in mochi's event loop. The methods are in the files of their
// subject: identity.go, guard.go, access.go, shared.go, publish.go, will.go, retained.go.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "sensorcast" }

// Provides implements mqtt.Hook. mochi asks it for every event.
func (h *hook) Provides(event byte) bool {
	switch event {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnPacketRead, mqtt.OnPacketProcessed, mqtt.OnPacketEncode,
		mqtt.OnACLCheck, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribe, mqtt.OnUnsubscribed, mqtt.OnSelectSubscribers,
		mqtt.OnPublish, mqtt.OnPublishDropped, mqtt.OnQosPublish,
		mqtt.OnRetainPublished, mqtt.OnRetainedExpired, mqtt.OnWill:
		return true
	}
	return false
}
