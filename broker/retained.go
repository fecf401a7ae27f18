package broker

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"

	"sensorcast/telemetry"
)

const maxRetainedTopics = 64 // of one sensor

// retained accounts for the sensors' retained messages, which mochi keeps in memory without a bound.
type retained struct {
	max int64 // bytes

	mu     sync.Mutex
	topics map[string]map[string]int // guarded by mu: bytes by serial and topic
	number int                       // guarded by mu
	bytes  int64                     // guarded by mu
}

func newRetained(max int64) *retained {
	return &retained{max: max, topics: map[string]map[string]int{}}
}

// reserve makes room for a message that replaces the topic's present one, if it may be retained.
func (r *retained) reserve(serial, topic string, size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := r.topics[serial]
	old, has := mine[topic]
	if !has && len(mine) >= maxRetainedTopics || r.bytes+int64(size-old) > r.max {
		return false
	}
	if mine == nil {
		mine = map[string]int{}
		r.topics[serial] = mine
	}
	if !has {
		topic = strings.Clone(topic) // it is part of a packet
		r.number++
	}
	mine[topic] = size
	r.bytes += int64(size - old)
	return true
}

// release forgets the topic's message.
func (r *retained) release(serial, topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := r.topics[serial]
	size, has := mine[topic]
	if !has {
		return
	}
	r.number--
	r.bytes -= int64(size)
	if delete(mine, topic); len(mine) == 0 {
		delete(r.topics, serial)
	}
}

// drain forgets all of a sensor's messages and returns their topics.
func (r *retained) drain(serial string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var topics []string
	for topic, size := range r.topics[serial] {
		topics = append(topics, topic)
		r.number--
		r.bytes -= int64(size)
	}
	delete(r.topics, serial)
	return topics
}

func (r *retained) count() (number int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.number, r.bytes
}

// unretain has mochi forget the message retained on topic.
func (b *Broker) unretain(topic string) {
	b.server.Topics.RetainMessage(packets.Packet{TopicName: topic})
	atomic.StoreInt64(&b.server.Info.Retained, int64(b.server.Topics.Retained.Len()))
}

// OnRetainedExpired implements mqtt.Hook: mochi dropped a message whose own expiry passed, and left its place in the trie.
func (h *hook) OnRetainedExpired(topic string) {
	if _, again := h.b.server.Topics.Retained.Get(topic); again {
		return // retained anew meanwhile
	}
	h.b.retained.release(telemetry.ParseTopic(topic).Serial, topic)
	h.b.unretain(topic)
}
