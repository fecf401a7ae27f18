package main

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// answers reports whether somebody listens on dir's socket.
func answers(dir string) bool {
	conn, err := dialControl(context.Background(), dir)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func TestControl_SocketIsForItsUserAlone(t *testing.T) {
	dir := t.TempDir()
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	l, err := listenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(filepath.Join(dir, socketName))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("got mode %v, %v, want a socket with 0600", info.Mode(), err)
	}
	if mask := syscall.Umask(0); mask != 0 {
		t.Errorf("the process is left with umask %04o, want that of before", mask)
	}
}

// A killed server leaves its socket behind, which answers nobody and must not keep the next one from listening.
func TestControl_SocketOfAKilledServerIsReplaced(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		l, err := listenControl(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !answers(dir) {
			t.Errorf("nobody answers")
		}
		l.Close() // which leaves the file
		if answers(dir) {
			t.Errorf("somebody answers on a closed socket")
		}
		if _, err := os.Stat(filepath.Join(dir, socketName)); err != nil {
			t.Fatalf("the file is gone: %v; the test sees nothing", err)
		}
	}
}

func TestControl_WhatIsNoSocketIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, socketName)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listenControl(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, %v, want an error that names the file", l, err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

// An address of a Unix socket holds 107 bytes; directories are longer.
func TestControl_PathMayBeLongerThanAnAddress(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if l, err := net.Listen("unix", filepath.Join(dir, socketName)); err == nil {
		l.Close()
		t.Fatal("the path fits: the test sees nothing")
	}
	l, err := listenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !answers(dir) {
		t.Errorf("nobody answers")
	}
}
