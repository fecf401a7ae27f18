package broker

import (
	"strings"
	"sync"

	"sensorcast/auth"
	state "sensorcast/session"
	"sensorcast/telemetry"
)

const maxRetainedTopics = 64 // of one sensor

// retained keeps the messages the sensors want kept on their topics, in memory and by way of the journal.
type retained struct {
	max int64 // bytes of all payloads

	mu       sync.Mutex
	bySerial map[string]map[string]*state.Message // guarded by mu: by serial and topic; never written to
	number   int                                  // guarded by mu
	bytes    int64                                // guarded by mu
}

func newRetained(max int64) *retained {
	return &retained{max: max, bySerial: map[string]map[string]*state.Message{}}
}

// put keeps m, which is p's, in place of the topic's present message; an empty one removes that. It reports whether there was room, and what
// is to be journaled. Numbers of sensors rise: of one that had the serial before, whose connection has not quite ended, nothing is taken.
func (r *retained) put(p auth.Principal, m *state.Message) (ok bool, changes []state.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.bySerial[p.Serial][m.Topic]
	if old != nil && old.SensorID > p.SensorID {
		return true, nil
	}
	if len(m.Payload) == 0 {
		if !r.removeLocked(p.Serial, m.Topic) {
			return true, nil
		}
		return true, []state.Change{state.Retain{Retained: state.Retained{SensorID: p.SensorID, Message: state.Message{Topic: m.Topic}}}}
	}
	size, has := 0, false
	if old != nil {
		size, has = len(old.Payload), true
	}
	if !has && len(r.bySerial[p.Serial]) >= maxRetainedTopics || r.bytes+int64(len(m.Payload)-size) > r.max {
		return false, nil
	}
	r.removeLocked(p.Serial, m.Topic)
	kept := *m
	r.addLocked(p.Serial, &kept)
	return true, []state.Change{state.Retain{Retained: state.Retained{SensorID: p.SensorID, Message: *m}}}
}

func (r *retained) addLocked(serial string, k *state.Message) {
	mine := r.bySerial[serial]
	if mine == nil {
		mine = map[string]*state.Message{}
		r.bySerial[serial] = mine
	}
	mine[k.Topic] = k
	r.number++
	r.bytes += int64(len(k.Payload))
}

func (r *retained) removeLocked(serial, topic string) bool {
	mine := r.bySerial[serial]
	k := mine[topic]
	if k == nil {
		return false
	}
	r.number--
	r.bytes -= int64(len(k.Payload))
	if delete(mine, topic); len(mine) == 0 {
		delete(r.bySerial, serial)
	}
	return true
}

// drain forgets all of a sensor's messages and returns what is to be journaled.
func (r *retained) drain(serial string, sensorID int64) (changes []state.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, k := range r.bySerial[serial] {
		if k.SensorID != sensorID { // the serial is another's already
			continue
		}
		changes = append(changes, state.Retain{Retained: state.Retained{SensorID: k.SensorID, Message: state.Message{Topic: topic}}})
		r.removeLocked(serial, topic)
	}
	return changes
}

// expire forgets what has expired [MQTT-3.3.2-5].
func (r *retained) expire(now telemetry.Millis) (changes []state.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for serial, mine := range r.bySerial {
		for topic, k := range mine {
			if k.ExpiresAt != 0 && k.ExpiresAt <= now {
				changes = append(changes, state.Retain{Retained: state.Retained{SensorID: k.SensorID, Message: state.Message{Topic: topic}}})
				r.removeLocked(serial, topic)
			}
		}
	}
	return changes
}

// match returns the messages on topics the filter matches. A filter that names a sensor, as most do, looks at no other.
func (r *retained) match(filter string) (all []*state.Message) {
	now := telemetry.Now()
	gather := func(mine map[string]*state.Message) {
		for topic, k := range mine {
			if (k.ExpiresAt == 0 || k.ExpiresAt > now) && matches(filter, topic) {
				all = append(all, k)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rest, ok := strings.CutPrefix(filter, "sensors/"); ok {
		if serial, _, _ := strings.Cut(rest, "/"); !strings.ContainsAny(serial, "+#") {
			gather(r.bySerial[serial])
			return all
		}
	}
	for _, mine := range r.bySerial {
		gather(mine)
	}
	return all
}

// matches reports whether a valid filter matches a topic name (MQTT 5.0 §4.7).
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false // [MQTT-4.7.2-1]
	}
	for {
		f, moreFilter, fOK := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, moreTopic, tOK := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case !fOK && !tOK:
			return true
		case !tOK:
			return moreFilter == "#" // the parent level too [MQTT-4.7.1-2]
		case !fOK:
			return false
		}
		filter, topic = moreFilter, moreTopic
	}
}

func (r *retained) count() (number int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.number, r.bytes
}
