package main

import (
	"io"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Proves that a command that was paused ends with its own status, and that one that cannot be run is told.
func TestRun_KeepsTheStatus(t *testing.T) {
	const loop = `sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done' & wait; exit 3`
	if status, err := run(20*time.Millisecond, time.Millisecond, []string{"sh", "-c", loop}); err != nil || status != 3 {
		t.Errorf("status %d, error %v, want 3", status, err)
	}
	if status, err := run(time.Millisecond, time.Second, []string{"/nowhere"}); err == nil || status == 0 {
		t.Errorf("a command that is not there: status %d, error %v", status, err)
	}
}

// Proves that each process of a tree is drawn, the root too, none outside of it, and none that is stopped already.
func TestVictim_IsOneOfTheTree(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sleep 60 & echo; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // now sleep is there
		t.Fatal(err)
	}
	drawn := func() map[int]int {
		count := map[int]int{}
		for range 60 {
			count[victim(cmd.Process.Pid)]++
		}
		return count
	}
	count := drawn()
	if len(count) != 2 || count[cmd.Process.Pid] == 0 {
		t.Fatalf("of sh (%d) and sleep were drawn %v", cmd.Process.Pid, count)
	}
	for pid := range count {
		if pid == cmd.Process.Pid {
			continue
		}
		pause(pid, time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); len(drawn()) > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a process that is stopped is drawn")
		}
	}
}
