package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnSelectSubscribers implements mqtt.Hook: who of each shared subscription gets this message. mochi would pick anybody who holds the
// same filter, another principal's client too: the pick would then not be allowed to receive it, and the group it was meant for would
// lose it. So a group is one principal's, and gives the message to one of its clients, to one that is there if any is.
func (h *hook) OnSelectSubscribers(subs *mqtt.Subscribers, pk packets.Packet) *mqtt.Subscribers {
	for _, group := range subs.Shared {
		chosen := map[string]string{} // client by scope; the map's order makes the choice random
		present := map[string]bool{}
		for id := range group {
			cl, ok := h.b.server.Clients.Get(id)
			if !ok || connOf(cl) == nil || !h.b.dir.MayReceive(connOf(cl).principal, pk.TopicName) {
				continue
			}
			scope, _, _ := strings.Cut(id, "/")
			if here := !cl.Closed(); chosen[scope] == "" || here && !present[scope] {
				chosen[scope], present[scope] = id, here
			}
		}
		for _, id := range chosen {
			sub, has := subs.SharedSelected[id]
			if !has {
				sub = group[id]
			}
			subs.SharedSelected[id] = sub.Merge(group[id])
		}
	}
	if len(subs.SharedSelected) == 0 {
		clear(subs.Shared) // else mochi picks by itself
	}
	return subs
}
