package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times in /proc (USER_HZ, 100 on every Linux that Go runs on).
const tick = 10 * time.Millisecond

// usage is what the processors did during a run.
type usage struct {
	elapsed           time.Duration
	server, generator time.Duration
	foreign           float64 // share of the whole machine spent on neither
}

// meter reads processor times. Interrupts are left out: loopback traffic causes them, so they are ours but counted for nobody.
type meter struct {
	pid                     int
	at                      int64
	server, self, everybody time.Duration
}

func startMeter(pid int) (meter, error) {
	m := meter{pid: pid, at: now()}
	var err error
	if m.server, err = processTime(strconv.Itoa(pid)); err != nil {
		return m, err
	}
	if m.self, err = processTime("self"); err != nil {
		return m, err
	}
	m.everybody, err = machineTime()
	return m, err
}

func (m meter) stop() (usage, error) {
	end, err := startMeter(m.pid)
	if err != nil {
		return usage{}, err
	}
	u := usage{elapsed: time.Duration(end.at - m.at), server: end.server - m.server, generator: end.self - m.self}
	foreign := end.everybody - m.everybody - u.server - u.generator
	u.foreign = max(0, foreign.Seconds()) / (u.elapsed.Seconds() * float64(runtime.NumCPU()))
	return u, nil
}

// processTime is user and system time of all threads, those that have ended too.
func processTime(pid string) (time.Duration, error) {
	content, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(content), ") ") // a command's name may hold blanks
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%s/stat: %q", pid, content)
	}
	return ticks(fields[11], fields[12])
}

func machineTime() (time.Duration, error) {
	content, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	if len(f) < 9 {
		return 0, fmt.Errorf("/proc/stat: %q", line)
	}
	return ticks(f[1], f[2], f[3], f[8])
}

func ticks(fields ...string) (sum time.Duration, err error) {
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// residentKB is the memory a process occupies.
func residentKB(pid int) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
		}
	}
	return 0, fmt.Errorf("no VmRSS for process %d", pid)
}
