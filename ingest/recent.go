package ingest

import (
	"crypto/sha256"
	"encoding/binary"

	"sensorcast/telemetry"
	"sensorcast/telemetry/format"
)

// keyOf is what a reading is recognised by when it is sent again: its id, or else its time and data. Without either it has none:
// two equal values a second apart are two readings. A key made from the time begins with it, so that the store's index of keys grows
// at its end as time passes; scattered keys would touch a page of it each.
func keyOf(sensorID int64, p *format.Point) (k telemetry.Key) {
	if p.ID == "" && p.Given == 0 {
		return k
	}
	b := make([]byte, 0, 256)
	b = binary.BigEndian.AppendUint64(b, uint64(sensorID))
	if p.ID != "" {
		b = append(b, 'i')
		sum := sha256.Sum256(append(b, p.ID...))
		copy(k[:], sum[:])
		return k
	}
	b = append(b, 't')
	b = binary.BigEndian.AppendUint64(b, uint64(p.Given))
	sum := sha256.Sum256(append(b, p.Data...))
	k[0], k[1] = byte(p.Given>>40), byte(p.Given>>32) // 48 bits of milliseconds
	binary.BigEndian.PutUint32(k[2:], uint32(p.Given))
	copy(k[6:], sum[:])
	return k
}

// keepRecent is how many keys are remembered: more than every sensor of a small fleet, or one with a large window, resends at once.
const keepRecent = 1 << 15

// recentKeys remembers the newest keys in two generations: when the young one is full it becomes the old one. Membership is exact for
// the last keepRecent keys and memory is bounded by twice that.
type recentKeys struct{ young, old map[telemetry.Key]struct{} }

func newRecentKeys() recentKeys {
	return recentKeys{young: map[telemetry.Key]struct{}{}}
}

// seen reports whether k was there, and remembers it.
func (s *recentKeys) seen(k telemetry.Key) bool {
	if _, ok := s.young[k]; ok {
		return true
	}
	_, was := s.old[k]
	if len(s.young) >= keepRecent {
		s.old, s.young = s.young, map[telemetry.Key]struct{}{}
	}
	s.young[k] = struct{}{}
	return was
}
