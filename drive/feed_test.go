package drive

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// feed is sensors of the fleet that publish all the time with QoS 1, each reading numbered and with an id of its own. Each sends its next
// reading when the last was acknowledged, and what was not again, over as many connections as it takes.
type feed struct {
	s     *instance
	pause time.Duration
	pad   string
	stop  chan struct{}
	close func() // closes stop, once
	over  sync.WaitGroup

	acknowledged []atomic.Int64 // by sensor: the number of the last one
	again        atomic.Int64   // readings sent a second time
}

// feed starts sensors 0 to n-1; end, or the end of the test, stops them. A reading is bytes long, or a bit longer.
func (s *instance) feed(n int, pause time.Duration, bytes int) *feed {
	s.t.Helper()
	f := &feed{s: s, pause: pause, stop: make(chan struct{}), acknowledged: make([]atomic.Int64, n), pad: padding(bytes)}
	f.close = sync.OnceFunc(func() { close(f.stop) })
	for i := range n {
		f.over.Go(func() { f.publish(i) }) // ends when stop closes
	}
	s.t.Cleanup(func() { f.end() })
	return f
}

func (f *feed) publish(i int) {
	var d *client
	for n := 1; ; n++ {
		for sent := false; ; sent = true {
			if !f.wait(f.pause) {
				return
			}
			if sent {
				f.again.Add(1)
			}
			if d = f.send(d, i, n); d != nil {
				break
			}
		}
		f.acknowledged[i].Store(int64(n))
	}
}

// send publishes on d, or a new connection if that is nil, and returns what it was acknowledged on.
func (f *feed) send(d *client, i, n int) *client {
	if d == nil {
		var err error
		if d, err = f.s.client("tcp", sensorLogin(i, 4+byte(i&1))); err != nil {
			return nil
		}
	}
	d.SetDeadline(time.Now().Add(patience))
	if err := d.publish(topicOf(i), numbered(i, n, f.pad)); err != nil {
		d.vanish()
		return nil
	}
	return d
}

// wait lets half as much to one and a half times as much time pass; false: it is over.
func (f *feed) wait(pause time.Duration) bool {
	select {
	case <-f.stop:
		return false
	case <-time.After(pause/2 + rand.N(pause)):
		return true
	}
}

// end stops the sensors and returns how many readings were acknowledged.
func (f *feed) end() (total int64) {
	f.close()
	f.over.Wait()
	for i := range f.acknowledged {
		total += f.acknowledged[i].Load()
	}
	return total
}

// numbered is the n-th reading of sensor i, recognisable when it comes again.
func numbered(i, n int, pad string) string {
	return fmt.Sprintf(`{"id":"%d-%d","data":{"n":%d,"pad":"%s"}}`, i, n, n, pad)
}

func padding(bytes int) string { return string(slices.Repeat([]byte("x"), bytes)) }

// kept is one stored reading.
type kept struct {
	Seq  int64
	Data struct{ N int64 }
}

// log reads all that is stored of the first n sensors, in the order of seq.
func (p *person) log(n int) map[string][]kept {
	p.s.t.Helper()
	all := make(map[string][]kept, n)
	for i := range n {
		for cursor := ""; ; {
			var page struct {
				Items      []kept
				NextCursor *string `json:"next_cursor"`
			}
			p.call("GET", "/api/v1/sensors/"+serialOf(i)+"/readings?limit=500&order=asc&cursor="+url.QueryEscape(cursor), nil, 200, &page)
			all[serialOf(i)] = append(all[serialOf(i)], page.Items...)
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
		}
		slices.SortFunc(all[serialOf(i)], func(a, b kept) int { return int(a.Seq - b.Seq) })
	}
	return all
}

// holds checks that the log has every acknowledged reading, once and in order.
func (f *feed) holds(t testing.TB, log map[string][]kept) {
	t.Helper()
	for i := range f.acknowledged {
		all := log[serialOf(i)]
		for at, r := range all {
			if r.Data.N != int64(at+1) {
				t.Errorf("%s: reading %d of the log is number %d", serialOf(i), at+1, r.Data.N)
				break
			}
		}
		if acknowledged := f.acknowledged[i].Load(); int64(len(all)) < acknowledged {
			t.Errorf("%s: %d readings are stored, want the %d acknowledged", serialOf(i), len(all), acknowledged)
		}
	}
}

// measure is the data of a reading as a viewer gets it.
func measure(data json.RawMessage) (m struct{ N, At int64 }, err error) {
	err = json.Unmarshal(data, &m)
	return m, err
}
