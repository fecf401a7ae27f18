package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// build makes the binary to measure.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sensorcast")
	if out, err := exec.Command("go", "build", "-o", binary, "sensorcast/cmd/sensorcast").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// nothingLeft fails the test if a server or a folder of one is still there.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		if children, _ := os.ReadFile(task); len(children) > 0 {
			t.Errorf("still running: process %s", children)
		}
	}
}

// What it finds is not looked at: a test that asserts speed fails on a busy machine.
func TestBench_QuickRunMeasuresAndLeavesNothingBehind(t *testing.T) {
	args, lines := []string{"-quick", "-rows", "A,B,D,F,J,K-viewer,K-device"}, 11
	if testing.Short() {
		args, lines = []string{"-pairs", "1", "-length", "100ms", "-rows", "B,F"}, 4
	}
	dir, page := t.TempDir(), filepath.Join(t.TempDir(), "page.md")
	args = append(args, "-peers", "mosquitto", "-sensorcast", build(t), "-dir", dir, "-out", page)
	var table, log strings.Builder
	if err := run(context.Background(), args, &table, &log); err != nil {
		t.Fatalf("%v\n%s%s", err, &log, &table)
	}
	if got := strings.Count(table.String(), " mosquitto "); got != lines {
		t.Errorf("got %d lines, want %d:\n%s", got, lines, &table)
	}
	for _, path := range []string{page, strings.TrimSuffix(page, ".md") + ".svg"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	nothingLeft(t, dir)
}

// interrupter cancels at the first line of the log: in the middle of things.
type interrupter struct{ cancel func() }

func (i interrupter) Write(b []byte) (int, error) { i.cancel(); return len(b), nil }

func TestBench_InterruptEndsServersAndRemovesFolders(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir := t.TempDir()
	args := []string{"-rows", "B", "-length", "100ms", "-peers", "mosquitto", "-sensorcast", build(t), "-dir", dir}
	if err := run(ctx, args, io.Discard, interrupter{cancel}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	nothingLeft(t, dir)
}

func TestOptions_AreBounded(t *testing.T) {
	for _, args := range [][]string{
		{"-length", "1h"}, {"-length", "1ms"}, {"-pairs", "0"}, {"-pairs", "1000"}, {"-idle", "1000000"}, {"stray"},
	} {
		if o, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v: got %+v, want an error", args, o)
		}
	}
	for flag, want := range map[string]string{"-peers": "mosquitto", "-rows": "K-viewer"} {
		err := run(context.Background(), []string{flag, "nobody"}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s nobody: got %v, want an error that names the flag and the choice", flag, err)
		}
	}
}
