package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// setting is what was measured, and on what.
type setting struct {
	Date       string
	Processor  string
	Processors int
	Memory     string
	Kernel     string
	Pairs      int
	Length     time.Duration
	Idle       int
	Rest       time.Duration // of idle sockets
	Took       time.Duration // all of it; 0: less than a minute
	Contenders []contestant
}

// contestant is a contender as the page presents it.
type contestant struct{ Name, Version, Viewers, Promise string }

func settingOf(o options, contenders []contender) (setting, error) {
	s := setting{
		Date: time.Now().UTC().Format(time.DateOnly), Processor: "unknown", Processors: runtime.NumCPU(), Memory: "unknown",
		Pairs: o.pairs, Length: o.length, Idle: o.idle, Rest: settling,
	}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		s.Processor = model
	}
	if kb, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		s.Memory = fmt.Sprintf("%.0f GB", float64(kb)/(1<<20))
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return s, err
	}
	s.Kernel = strings.TrimSpace(string(release))
	for _, c := range contenders {
		version, err := c.version()
		if err != nil {
			return s, fmt.Errorf("%s: %w", c.name, err)
		}
		s.Contenders = append(s.Contenders, contestant{c.name, version, c.viewers, c.promise})
	}
	return s, nil
}

// field is the first value of a key in one of the kernel's text files.
func field(path, key string) string {
	content, _ := os.ReadFile(path)
	for line := range strings.Lines(string(content)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
