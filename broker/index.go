package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// index finds the subscriptions a topic matches: mochi's trie, and a mend. It is safe for concurrent use.
type index struct{ *mqtt.TopicsIndex }

func newIndex() index { return index{mqtt.NewTopicsIndex()} }

// parentMark marks the second entry of a filter that ends in "+/#", which must match its parent level too [MQTT-4.7.1-2] and in mochi
// does not. No session id begins with it.
const parentMark = "\x00"

func (x index) add(id string, sub packets.Subscription) {
	x.Subscribe(id, sub)
	if parent, ok := plusParent(sub.Filter); ok {
		sub.Filter = parent
		x.Subscribe(parentMark+id, sub)
	}
}

func (x index) remove(id, filter string) {
	x.Unsubscribe(filter, id)
	if parent, ok := plusParent(filter); ok {
		x.Unsubscribe(parent, parentMark+id)
	}
}

// plusParent returns what "a/+/#" matches beyond what mochi finds: "a/+". Shared ones have no such entry.
func plusParent(filter string) (string, bool) {
	if isShared(filter) || !strings.HasSuffix(filter, "+/#") {
		return "", false
	}
	return strings.TrimSuffix(filter, "/#"), true
}

// match returns the subscriptions of a topic name: one for each session, merged where several of its filters match, and the shared
// ones by their whole filter.
func (x index) match(topic string) *mqtt.Subscribers {
	subs := x.Subscribers(topic)
	for id, sub := range subs.Subscriptions {
		if real, marked := strings.CutPrefix(id, parentMark); marked {
			delete(subs.Subscriptions, id)
			if have, ok := subs.Subscriptions[real]; ok {
				sub = have.Merge(sub)
			}
			subs.Subscriptions[real] = sub
		}
	}
	return subs
}
