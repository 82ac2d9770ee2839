package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// load is one kind of work for sipp.
type load struct {
	name     string
	scenario string
	count    int
	parallel int
}

func registerLoad(n int) load { return load{"REGISTER pairs (401, 200)", "register.xml", n, 50} }
func callLoad(n int) load     { return load{"full calls (407, INVITE … BYE)", "call.xml", n, 100} }

// bufferSize of sipp's sockets: its own default of 64 KiB drops packets under load, and each costs half a second.
const bufferSize = "1048576"

func scenario(name string) string { return filepath.Join(edge.Root(), "test", "bench", "sipp", name) }

// injection writes sipp's table of users: name, domain, credentials, whom to call.
func injection(dir string) error {
	var b strings.Builder
	b.WriteString("SEQUENTIAL\n")
	for i := 1; i < users; i++ {
		u := 1000 + i
		fmt.Fprintf(&b, "%d;%s;[authentication username=%d password=%s];1000\n", u, domain, u, password)
	}
	return os.WriteFile(filepath.Join(dir, "users.csv"), []byte(b.String()), 0o600)
}

// startCallee starts the sipp that answers all calls.
func startCallee(dir string, port int) (*callee, error) {
	cmd := exec.Command("sipp", "-sf", scenario("answer.xml"), "-i", "127.0.0.1", "-p", fmt.Sprint(port), "-nostdin", "-timeout", "1200", "-buff_size", bufferSize, "127.0.0.1")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the answering sipp: %w", err)
	}
	return &callee{cmd}, nil
}

type callee struct{ cmd *exec.Cmd }

func (c *callee) Stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func freeUDP() (int, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

// registerCallee registers user 1000 from the port where the callee will answer.
func registerCallee(ctx context.Context, dir, sip string, port int) error {
	table := filepath.Join(dir, "callee.csv")
	line := fmt.Sprintf("SEQUENTIAL\n1000;%s;[authentication username=1000 password=%s];1000\n", domain, password)
	if err := os.WriteFile(table, []byte(line), 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "sipp", sip, "-sf", scenario("register.xml"), "-inf", table, "-i", "127.0.0.1", "-p", fmt.Sprint(port),
		"-m", "1", "-nostdin", "-timeout", "10").CombinedOutput()
	if err != nil {
		return fmt.Errorf("register the callee at %s: %w\n%s", sip, err, tail(out, 600))
	}
	return nil
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// run runs the load once against a variant.
func (l load) run(ctx context.Context, dir string, v variant) (result, error) {
	port, err := freeUDP()
	if err != nil {
		return result{}, err
	}
	work, err := os.MkdirTemp(dir, "sipp-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(work)
	before := make([]float64, len(v.procs))
	for i, p := range v.procs {
		if before[i], err = groupCPU(p.PID()); err != nil {
			return result{}, err
		}
	}
	cmd := exec.CommandContext(ctx, "sipp", v.sip, "-sf", scenario(l.scenario), "-inf", filepath.Join(dir, "users.csv"),
		"-i", "127.0.0.1", "-p", fmt.Sprint(port), "-m", fmt.Sprint(l.count), "-l", fmt.Sprint(l.parallel), "-r", "100000", "-rp", "1000",
		"-nostdin", "-timeout", "120", "-buff_size", bufferSize, "-trace_rtt", "-rtt_freq", "100", "-trace_stat", "-fd", "60", "-stf", "stat.csv", "-recv_timeout", "5000")
	cmd.Dir = work
	began := time.Now()
	out, err := cmd.CombinedOutput()
	elapsed := time.Since(began).Seconds()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: some calls failed; they are counted
		return result{}, fmt.Errorf("sipp: %w\n%s", err, tail(out, 800))
	}
	r := result{}
	if r.failed, err = failedCalls(filepath.Join(work, "stat.csv")); err != nil {
		return r, err
	}
	good := float64(l.count - r.failed)
	if good < float64(l.count)*0.95 {
		return r, fmt.Errorf("%d of %d calls failed\n%s", r.failed, l.count, tail(out, 800))
	}
	r.perSec = good / elapsed
	for i, p := range v.procs {
		after, err := groupCPU(p.PID())
		if err != nil {
			return r, err
		}
		r.cpu = append(r.cpu, (after-before[i])*1e6/float64(l.count))
	}
	r.cpu = append(r.cpu, (cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()).Seconds()*1e6/float64(l.count))
	r.p50, r.p99, err = responseTimes(work)
	return r, err
}

// groupCPU is the CPU time in seconds of all processes of a process group, the living ones.
func groupCPU(pgid int) (float64, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var ticks float64
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, ok := bytes.Cut(b, []byte(") "))
		f := strings.Fields(string(rest))
		if !ok || len(f) < 13 || f[2] != strconv.Itoa(pgid) {
			continue
		}
		user, _ := strconv.ParseFloat(f[11], 64)
		sys, _ := strconv.ParseFloat(f[12], 64)
		ticks += user + sys
	}
	return ticks / 100, nil
}

// failedCalls reads the last line of sipp's statistics.
func failedCalls(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	col := slices.Index(strings.Split(lines[0], ";"), "FailedCall(C)")
	fields := strings.Split(lines[len(lines)-1], ";")
	if col < 0 || col >= len(fields) {
		return 0, fmt.Errorf("no FailedCall(C) in %s", path)
	}
	return strconv.Atoi(fields[col])
}

// responseTimes reads sipp's response times: milliseconds from the authenticated request to its 200.
func responseTimes(dir string) (p50, p99 float64, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_rtt.csv"))
	if err != nil || len(files) == 0 {
		return 0, 0, fmt.Errorf("sipp wrote no response times (%v)", err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var all []float64
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Split(sc.Text(), ";")
		if len(fields) < 2 {
			continue
		}
		if ms, err := strconv.ParseFloat(fields[1], 64); err == nil {
			all = append(all, ms)
		}
	}
	if len(all) == 0 {
		return 0, 0, nil
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], nil
}
