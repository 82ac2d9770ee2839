// Command jitter runs a command and stops, again and again, one process of its tree for a moment, while the others go on: what a busy
// machine does to a test now and then, many times a second. Linux only.
//
//	go test -c -o /tmp/x.test ./test/scenario && cd test/scenario && go run ../jitter /tmp/x.test -test.run TestQueueRace
//
// Its exit status is the command's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	most := flag.Duration("max", 300*time.Millisecond, "the longest pause")
	every := flag.Duration("every", 30*time.Millisecond, "time between two pauses, on average")
	flag.Parse()
	if flag.NArg() == 0 || *most <= 0 || *every <= 0 {
		fmt.Fprintln(os.Stderr, "usage: jitter [-max 300ms] [-every 30ms] COMMAND...")
		os.Exit(2)
	}
	status, err := run(*most, *every, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "jitter:", err)
	}
	os.Exit(status)
}

func run(most, every time.Duration, command []string) (status int, err error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return max(exit.ExitCode(), 1), nil // a signal has no code
			}
			return 0, err
		case <-time.After(rand.N(2 * every)):
			pause(victim(cmd.Process.Pid), rand.N(most))
		}
	}
}

// pause stops a process for a while. One that a test has stopped itself meanwhile goes on with it.
func pause(pid int, while time.Duration) {
	if syscall.Kill(pid, syscall.SIGSTOP) == nil {
		<-time.After(while)
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may have ended
	}
}

// victim is one process of a tree that is not stopped: first a program is drawn, then one of its processes, so that
// Kamailio's dozens are no likelier than the one node agent.
func victim(root int) int {
	children, programs := map[int][]int{}, map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		name, rest, ok := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if err != nil || !ok || len(fields) < 2 {
			continue
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			continue
		}
		children[parent] = append(children[parent], pid)
		if fields[0] != "T" && fields[0] != "Z" {
			_, programs[pid], _ = strings.Cut(name, "(")
		}
	}
	byProgram := map[string][]int{"": {root}}
	for tree := children[root]; len(tree) > 0; tree = append(tree[1:], children[tree[0]]...) {
		if program := programs[tree[0]]; program != "" {
			byProgram[program] = append(byProgram[program], tree[0])
		}
	}
	var kinds [][]int
	for _, pids := range byProgram {
		kinds = append(kinds, pids)
	}
	kind := kinds[rand.N(len(kinds))]
	return kind[rand.N(len(kind))]
}
