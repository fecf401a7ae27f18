package drive

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// note is what the payload of a message says: who wrote it, and its number among the writer's.
type note struct {
	Writer int `json:"w"`
	Number int `json:"n"`
}

func (n note) String() string { return fmt.Sprintf(`{"w":%d,"n":%d}`, n.Writer, n.Number) }

func readNote(payload string) (n note, err error) {
	err = json.Unmarshal([]byte(payload), &n)
	return n, err
}

// writer is a publisher that keeps what a client has to keep over the end of a connection, and of the server: what it has sent and not
// seen answered to the end (MQTT 5.0 §4.1).
type writer struct {
	number int // and its sensor's
	login  login
	qos    byte

	known        bool        // the server has acknowledged its session
	next         int         // number of its next message
	open         []*outgoing // in order
	acknowledged int         // messages below this number are the server's responsibility
	retained     [2]int      // numbers of the last retained message acknowledged, and sent; -1: none
}

type outgoing struct {
	publication
	number   int
	released bool // PUBREC came
}

const (
	writerWindow = 8
	retainEvery  = 10 // every tenth message is a retained one
)

// run publishes until the writer's number reaches limit and everything is answered, or until the connection fails, which is no error of
// the writer's.
func (w *writer) run(s *instance, limit int) error {
	d, err := s.client("tcp", w.login)
	if err != nil {
		return nil
	}
	defer d.vanish()
	if w.known && !d.present {
		return fmt.Errorf("writer %d: its session is gone", w.number)
	}
	w.known = true
	for _, o := range w.open { // [MQTT-4.4.0-1]
		o.dup = true
		if o.send(d) != nil {
			return nil
		}
	}
	d.SetDeadline(time.Now().Add(patience))
	for {
		for len(w.open) < writerWindow && w.next < limit {
			if w.compose().send(d) != nil {
				return nil
			}
		}
		if len(w.open) == 0 {
			return nil
		}
		p, err := d.read()
		if err != nil {
			return nil
		}
		if err := w.answered(d, p); err != nil {
			return err
		}
	}
}

// send sends what comes next of the exchange.
func (o *outgoing) send(c *client) error {
	if o.released {
		return c.send(acknowledgement(pPubrel, o.id))
	}
	return c.send(o.packet(c.version))
}

func (w *writer) compose() *outgoing {
	o := &outgoing{number: w.next, publication: publication{
		topic: topicOf(w.number), payload: note{w.number, w.next}.String(), qos: w.qos, id: w.next%1000 + 1, retain: w.next%retainEvery == 0,
	}}
	if o.retain {
		w.retained[1] = o.number
	}
	w.next++
	w.open = append(w.open, o)
	return o
}

// answered takes an acknowledgement.
func (w *writer) answered(d *client, p packet) error {
	if p.kind() != pPuback && p.kind() != pPubrec && p.kind() != pPubcomp {
		return fmt.Errorf("writer %d got %s", w.number, p)
	}
	i := slices.IndexFunc(w.open, func(o *outgoing) bool { return o.id == p.id })
	if i < 0 {
		return fmt.Errorf("writer %d got %s, and has not sent that", w.number, p)
	}
	o := w.open[i]
	if p.code >= 0x80 && p.kind() != pPubcomp {
		return fmt.Errorf("writer %d: message %d was refused with %#x", w.number, o.number, p.code)
	}
	if p.kind() != pPubcomp { // the server has it
		w.acknowledged = max(w.acknowledged, o.number+1)
		if o.retain {
			w.retained[0] = max(w.retained[0], o.number)
		}
	}
	if p.kind() == pPubrec {
		o.released = true
		_ = o.send(d) // a failure shows at the next read
		return nil
	}
	w.open = slices.Delete(w.open, i, i+1)
	return nil
}

// reader is a subscriber that keeps what a client has to keep: the QoS 2 messages it has received and not seen released.
type reader struct {
	name    string
	login   login
	qos     byte
	filters []string

	known bool
	held  map[int]bool
	got   map[note]int // how often
	last  map[int]int  // by writer, the highest number so far
	twice int          // with QoS 2, which it must not be
	fault error        // the first
}

func newReader(name string, l login, qos byte, filters ...string) *reader {
	return &reader{name: name, login: l, qos: qos, filters: filters, held: map[int]bool{}, got: map[note]int{}, last: map[int]int{}}
}

// run receives until the connection fails or enough says so, asked after each message.
func (r *reader) run(s *instance, enough func() bool) {
	d, err := s.client("tcp", r.login)
	if err != nil {
		return
	}
	defer d.vanish()
	if r.known && !d.present {
		r.failed("its session is gone")
	}
	if !r.known {
		if d.subscribe(r.qos, r.filters...) != nil {
			return
		}
		r.known = true
	}
	d.SetDeadline(time.Now().Add(patience))
	for !enough() {
		p, err := d.read()
		if err != nil {
			return
		}
		switch p.kind() {
		case pPublish:
			err = r.received(d, p)
		case pPubrel:
			delete(r.held, p.id)
			err = d.send(acknowledgement(pPubcomp, p.id))
		}
		if err != nil {
			return
		}
	}
}

func (r *reader) received(d *client, m packet) error {
	kind := pPuback
	fresh := true
	if m.qos() == 2 {
		kind = pPubrec
		fresh = !r.held[m.id] // [MQTT-4.3.3-10]
		r.held[m.id] = true
	}
	if fresh {
		r.take(m)
	}
	return d.send(acknowledgement(kind, m.id))
}

// take is what the application behind the client sees.
func (r *reader) take(m packet) {
	n, err := readNote(m.payload)
	if err != nil {
		r.failed("unreadable payload: %v", err)
		return
	}
	r.got[n]++
	if r.got[n] > 1 {
		if m.qos() == 2 {
			r.twice++
		}
		return
	}
	if last, some := r.last[n.Writer]; some && n.Number < last {
		r.failed("message %v came for the first time after number %d", n, last)
	}
	r.last[n.Writer] = max(r.last[n.Writer], n.Number)
}

func (r *reader) failed(format string, args ...any) {
	if r.fault == nil {
		r.fault = fmt.Errorf("%s: "+format, append([]any{r.name}, args...)...)
	}
}

// missing counts the messages of the writers that it should have and has not.
func (r *reader) missing(writers []*writer) (n int, first note) {
	for _, w := range writers {
		for i := range w.acknowledged {
			if at := (note{w.number, i}); r.got[at] == 0 {
				if n++; n == 1 {
					first = at
				}
			}
		}
	}
	return n, first
}
