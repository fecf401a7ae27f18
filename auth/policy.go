package auth

import (
	"slices"
	"strings"

	"sensorcast/telemetry"
)

// Action is what a principal wants to do with a sensor.
type Action uint8

// The actions.
const (
	View    Action = iota + 1 // see it, its readings, state, commands and alerts
	Publish                   // send readings in its name
	Inspect                   // see who connects in its name and why somebody was refused
	Manage                    // change or command it, rotate its secret
	Own                       // share it, give it away, delete it
	Leave                     // give up one's own share of it
)

// Access is what a person is to a sensor. Each may do what those before it may.
type Access uint8

// The accesses. The zero Access is none.
const (
	NoAccess      Access = iota
	ViewerAccess         // was let see it
	ManagerAccess        // was let manage it
	OwnerAccess
)

var accessNames = [...]string{"", "viewer", "manager", "owner"}

// String names the access as clients spell it; none is "".
func (a Access) String() string { return accessNames[a] }

// AccessNamed is the reverse of String; whatever names none is NoAccess.
func AccessNamed(name string) Access { return Access(max(0, slices.Index(accessNames[:], name))) }

// needed is the least access a person needs for an action; an action that is not here is for nobody.
var needed = [...]Access{View: ViewerAccess, Inspect: ManagerAccess, Manage: ManagerAccess, Own: OwnerAccess, Leave: ViewerAccess}

// Allowed is the policy; every other decision about sensors is grammar around it. A person may do what their access to the sensor covers and
// the API token they came with, if any, does not exclude; an admin no more than that: admins administer accounts. A sensor views and
// publishes as itself. Nobody else may do anything.
func Allowed(p Principal, a Action, dev Device) bool {
	switch p.Kind {
	case Person:
		if int(a) >= len(needed) || needed[a] == NoAccess || !p.limits.permit(a, dev.Serial) {
			return false
		}
		return dev.AccessOf(p.UserID) >= needed[a]
	case Sensor:
		return (a == View || a == Publish) && p.SensorID != 0 && p.SensorID == dev.SensorID && p.Serial == dev.Serial
	}
	return false
}

// MayRegister reports whether p may bring sensors into the registry: people, unless they came with a token that only reads or is for certain
// sensors.
func MayRegister(p Principal) bool {
	return p.Kind == Person && p.UserID != 0 && (p.limits == nil || p.limits.write && p.limits.serials == nil)
}

// MayAdopt reports whether p may see the strangers who knock and let them in: the operator, and admins unless they came with a token that leaves
// less than all.
func MayAdopt(p Principal) bool {
	return p.Kind == Operator || p.Role == RoleAdmin && MayRegister(p)
}

// Can asks the policy about the sensor of that serial; about an unknown one the answer is no. It allocates nothing.
func (d *Directory) Can(p Principal, a Action, serial string) bool {
	dev, ok := d.Lookup(serial)
	return ok && Allowed(p, a, dev)
}

// MayPublish reports whether p may send a message to t: a sensor to its own telemetry and command replies, and to its own lwt, which the broker
// takes as a will only. What the server publishes (status, commands, alerts) nobody else may.
func (d *Directory) MayPublish(p Principal, t telemetry.Topic) bool {
	switch t.Channel {
	case telemetry.ChannelTelemetry, telemetry.ChannelWill, telemetry.ChannelCommandReply:
		return d.Can(p, Publish, t.Serial)
	}
	return false
}

// MayReceive reports whether a message on the topic may be delivered to p now. It is asked for every delivery, so what a wildcard matched is
// narrowed to what p may view at that moment. It allocates nothing for a topic of the grammar.
func (d *Directory) MayReceive(p Principal, topic string) bool { return d.MayReceiveOf(p, topic, 0) }

// MayReceiveOf is MayReceive for a message that is about the sensor of that number: once its serial is another sensor's, nobody may. Zero is a
// message of whichever has the serial.
func (d *Directory) MayReceiveOf(p Principal, topic string, sensorID int64) bool {
	if strings.HasPrefix(topic, "$") {
		return mayReadSystem(p, topic)
	}
	t := telemetry.ParseTopic(topic)
	if t.Channel == telemetry.ChannelNone || t.Channel == telemetry.ChannelAlerts && p.Kind != Person {
		return false // alerts are the owner's, also those about the sensor that asks
	}
	dev, ok := d.Lookup(t.Serial)
	return ok && (sensorID == 0 || sensorID == dev.SensorID) && Allowed(p, View, dev)
}

// MaySubscribe reports whether p may hold the subscription, given the raw filter with its $share prefix. A filter that names a serial is granted
// when p may view it; a person's other wildcards are granted too, because MayReceive narrows them. A sensor's filter must begin with its
// own sensors/{serial}, by equality. Ill-formed filters are refused, and $SYS to all but admins.
func (d *Directory) MaySubscribe(p Principal, filter string) bool {
	if p.Kind == Anonymous || !telemetry.ValidFilter(filter) {
		return false
	}
	_, filter, _ = telemetry.SplitShare(filter)
	if strings.HasPrefix(filter, "$") {
		return mayReadSystem(p, filter)
	}
	if !strings.ContainsAny(filter, "+#") {
		return d.MayReceive(p, filter)
	}
	serial, named := namedSerial(filter)
	if !named {
		return p.Kind == Person
	}
	if p.Kind == Sensor && !strings.HasPrefix(filter, "sensors/") {
		return false
	}
	return d.Can(p, View, serial)
}

// mayReadSystem answers for topics and filters that begin with $. Only $SYS is anybody's, and it tells about all accounts.
func mayReadSystem(p Principal, topic string) bool {
	return p.Kind == Person && p.Role == RoleAdmin && p.limits == nil && (topic == "$SYS" || strings.HasPrefix(topic, "$SYS/"))
}
