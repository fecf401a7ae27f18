package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const payloadBytes = 128

// stampAt is where a payload carries the nanosecond it was sent, as 19 digits.
const stampAt = len(`{"sent":`)

// payload is one reading of 128 bytes.
func payload() []byte {
	b := []byte(`{"sent":1000000000000000000,"temperature":21.53,"humidity":48.2,"pad":"`)
	b = append(b, bytes.Repeat([]byte("x"), payloadBytes-len(b)-2)...)
	return append(b, `"}`...)
}

// fanout measures deliveries per second with as many messages under way as window says: a message is under way until every one of its
// viewers has it. viewers are dealt out to the sensors in turn.
func (b *bench) fanout(sensors, viewers, window int) func(server) (result, error) {
	return func(s server) (result, error) {
		if err := s.prepare(sensors); err != nil {
			return result{}, err
		}
		audience, err := gather(s, sensors, viewers)
		if err != nil {
			return result{}, err
		}
		defer audience.close()
		senders, err := sendersOf(s, sensors)
		if err != nil {
			return result{}, err
		}
		var (
			sent    int64
			perSend = int64(viewers / sensors)
			latency []time.Duration
		)
		drive := func(length time.Duration) error {
			for end, moved := time.Now().Add(length), time.Now(); time.Now().Before(end); {
				for sent-audience.delivered/perSend < int64(window) {
					if err := senders[sent%int64(sensors)](); err != nil {
						return err
					}
					sent++
				}
				before := audience.delivered
				if err := audience.read(); err != nil {
					return err
				}
				if audience.delivered > before {
					moved = time.Now()
				} else if time.Since(moved) > 10*time.Second {
					return fmt.Errorf("nothing delivered for 10 s: %d sent, %d delivered", sent, audience.delivered)
				}
			}
			return nil
		}
		if err := drive(b.length / 3); err != nil { // warm up
			return result{}, err
		}
		audience.onSample = func(payload []byte) {
			if d, ok := age(payload); ok {
				latency = append(latency, d)
			}
		}
		start, before := time.Now(), audience.delivered
		if err := drive(b.length); err != nil {
			return result{}, err
		}
		r := result{figure: float64(audience.delivered-before) / time.Since(start).Seconds()}
		r.p50, r.p99 = percentiles(latency)
		return r, nil
	}
}

// gather opens the viewers. A few of them, spread evenly, are asked for latencies.
func gather(s server, sensors, viewers int) (*crowd, error) {
	audience, err := newCrowd()
	if err != nil {
		return nil, err
	}
	for i := range viewers {
		v, err := s.viewer(i % sensors)
		if err == nil {
			err = audience.add(v, i%max(1, viewers/16) == 0)
		}
		if err != nil {
			audience.close()
			return nil, fmt.Errorf("viewer %d: %w", i, err)
		}
	}
	return audience, nil
}

// sendersOf connects the sensors. Each sender publishes one reading at QoS 0, stamped with the present.
func sendersOf(s server, sensors int) ([]func() error, error) {
	senders := make([]func() error, sensors)
	for i := range senders {
		c, topic, err := s.publisher(i)
		if err != nil {
			return nil, fmt.Errorf("publisher %d: %w", i, err)
		}
		p, _ := publishPacket(topic, 0, payload())
		at := len(p) - payloadBytes + stampAt
		senders[i] = func() error { // the socket ends with the server
			strconv.AppendInt(p[at:at:at+19], time.Now().UnixNano(), 10)
			_, err := c.Write(p)
			return err
		}
	}
	return senders, nil
}

// age is how long ago the stamp in a frame was made.
func age(frame []byte) (time.Duration, bool) {
	i := bytes.Index(frame, []byte(`"sent":`))
	if i < 0 || len(frame) < i+7+19 {
		return 0, false
	}
	sent, err := strconv.ParseInt(string(frame[i+7:i+7+19]), 10, 64)
	return time.Duration(time.Now().UnixNano() - sent), err == nil
}

func percentiles(d []time.Duration) (p50, p99 time.Duration) {
	if len(d) == 0 {
		return 0, 0
	}
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100]
}

// ingest measures acknowledged QoS 1 publishes per second, of so many publishers with so many unacknowledged each.
func (b *bench) ingest(publishers, window int) func(server) (result, error) {
	return func(s server) (result, error) {
		if err := s.prepare(publishers); err != nil {
			return result{}, err
		}
		var (
			acked  atomic.Int64
			failed atomic.Pointer[error]
			group  sync.WaitGroup
			mu     sync.Mutex // guards latency
			conns  []net.Conn

			latency []time.Duration
		)
		for i := range publishers {
			c, topic, err := s.publisher(i)
			if err != nil {
				return result{}, fmt.Errorf("publisher %d: %w", i, err)
			}
			conns = append(conns, c)
			group.Go(func() { // ends when its socket is closed
				seen, err := publishWindow(c, topic, window, &acked)
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
				mu.Lock()
				latency = append(latency, seen...)
				mu.Unlock()
			})
		}
		time.Sleep(b.length / 3) // warm up
		start, before := time.Now(), acked.Load()
		time.Sleep(b.length)
		r := result{figure: float64(acked.Load()-before) / time.Since(start).Seconds()}
		err := failed.Load()
		for _, c := range conns {
			c.Close()
		}
		group.Wait()
		if err != nil {
			return result{}, *err
		}
		r.p50, r.p99 = percentiles(latency)
		return r, nil
	}
}

// publishWindow keeps window publishes unacknowledged until the socket fails. Acknowledgements come in order [MQTT-4.6.0-2].
func publishWindow(c net.Conn, topic string, window int, acked *atomic.Int64) (latency []time.Duration, err error) {
	p, idAt := publishPacket(topic, 1, payload())
	at := len(p) - payloadBytes + stampAt
	sentAt := make([]time.Time, window)
	var out []byte
	id, head := uint16(0), 0
	push := func(n int) error {
		out = out[:0]
		now := time.Now()
		strconv.AppendInt(p[at:at:at+19], now.UnixNano(), 10)
		for range n {
			if id++; id == 0 {
				id = 1
			}
			binary.BigEndian.PutUint16(p[idAt:], id)
			out = append(out, p...)
			sentAt[(head)%window] = now
			head++
		}
		_, err := c.Write(out)
		return err
	}
	if err := push(window); err != nil {
		return nil, err
	}
	buf, have, done := make([]byte, 4*window), 0, 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return latency, nil // closed by the row's end
		}
		have += n
		acks := have / 4
		for i := range acks {
			if buf[4*i] != 0x40 {
				return latency, fmt.Errorf("%s: packet type %#x, want PUBACK: %w", topic, buf[4*i], io.ErrUnexpectedEOF)
			}
			if done%16 == 0 {
				latency = append(latency, time.Since(sentAt[done%window]))
			}
			done++
		}
		have = copy(buf, buf[4*acks:have])
		acked.Add(int64(acks))
		if acks > 0 {
			if err := push(acks); err != nil {
				return latency, nil
			}
		}
	}
}

// idle measures the server's memory per WebSocket that is open and quiet.
func (b *bench) idle(sockets int) func(server) (result, error) {
	return func(s server) (result, error) {
		if err := s.prepare(1); err != nil {
			return result{}, err
		}
		// A few sockets first, so that what the server needs once is not counted.
		var open []*viewer
		defer func() {
			for _, v := range open {
				v.conn.Close()
			}
		}()
		add := func(n int) error {
			for range n {
				v, err := s.viewer(0)
				if err != nil {
					return err
				}
				open = append(open, v)
			}
			time.Sleep(2 * time.Second) // let what the handshakes left settle
			return nil
		}
		if err := add(50); err != nil {
			return result{}, err
		}
		before, err := residentKB(s.pid())
		if err != nil {
			return result{}, err
		}
		if err := add(sockets); err != nil {
			return result{}, err
		}
		after, err := residentKB(s.pid())
		return result{figure: (after - before) / float64(sockets)}, err
	}
}
