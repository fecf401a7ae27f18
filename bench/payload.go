package main

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"time"
)

const payloadBytes = 128

// A payload carries the time it was due to be sent, as 19 digits after sentKey. epoch keeps it at 19.
const (
	sentKey = `{"sent":`
	digits  = 19
	epoch   = int64(1e18)
)

// began makes stamps independent of steps of the wall clock: sender and viewer are one process.
var began = time.Now()

// now is in nanoseconds.
func now() int64 { return int64(time.Since(began)) }

// payload is one reading of 128 bytes.
func payload() []byte {
	b := []byte(sentKey + `1000000000000000000,"temperature":21.53,"humidity":48.2,"pad":"`)
	b = append(b, bytes.Repeat([]byte("x"), payloadBytes-len(b)-2)...)
	return append(b, `"}`...)
}

// stamp writes a time into a payload.
func stamp(payload []byte, at int64) {
	strconv.AppendInt(payload[len(sentKey):len(sentKey):len(sentKey)+digits], epoch+at, 10)
}

// stamped finds the time in a message that holds a payload, as it was sent or with the blank that a server's JSON writer puts in.
func stamped(message []byte) (int64, bool) {
	i := bytes.Index(message, []byte(sentKey))
	if i < 0 {
		return 0, false
	}
	value := bytes.TrimPrefix(message[i+len(sentKey):], []byte(" "))
	if len(value) < digits {
		return 0, false
	}
	at, err := strconv.ParseInt(string(value[:digits]), 10, 64)
	return at - epoch, err == nil
}

// samples are latencies in nanoseconds.
type samples []int64

// percentile is in microseconds; NaN without samples.
func (s samples) percentile(p int) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	slices.Sort(s)
	return float64(s[min(len(s)*p/100, len(s)-1)]) / 1e3
}
