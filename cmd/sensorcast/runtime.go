package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// tuneRuntime fits Go's scheduler and collector to what this program does, and returns how many processors there are.
func tuneRuntime() (cores int) {
	cores = runtime.GOMAXPROCS(0)
	// The committer spends its time in C and in fsync, and each time it returns it needs a place among those running. Without one to
	// spare it queues behind every busy connection, and every acknowledgement with it.
	runtime.GOMAXPROCS(cores + 1)
	// The collector's default favours small heaps; ours is small and the rate of allocation is what costs. What a burst leaves behind
	// is given back by easeMemory.
	debug.SetGCPercent(200)
	return cores
}

const (
	easeInterval = 2 * time.Second
	quietBytes   = 4 << 20 // allocated in that time: less is a quiet server
	easeBytes    = 2 << 20 // of garbage and free memory, to be worth it
)

// easeMemory returns memory to the system when the server is quiet, until ctx ends. After a burst of connections as much as two thirds of
// the heap is garbage, and the collector, which is paced by allocation, would not look at it for as long as little happens.
func easeMemory(ctx context.Context) {
	tick := time.NewTicker(easeInterval)
	defer tick.Stop()
	before, _, _ := heap()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		allocated, used, live := heap()
		if quiet := allocated-before < quietBytes; quiet && used > live+live/5+easeBytes {
			debug.FreeOSMemory()
		}
		before = allocated
	}
}

// heap returns the bytes allocated since the start, those the heap uses now, be it for objects or for none, and those of objects that were
// alive at the last collection.
func heap() (allocated, used, live uint64) {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[2].Value.Uint64() + s[3].Value.Uint64(), s[1].Value.Uint64()
}
