package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

// listener runs "testphone listen" and returns the host:port where it can be called, and its result.
func listener(t *testing.T, ctx context.Context, args ...string) (addr string, done <-chan int, out *bytes.Buffer) {
	t.Helper()
	stderr, w := io.Pipe()
	out = &bytes.Buffer{}
	code := make(chan int, 1)
	go func() {
		args := append([]string{"listen", "--user", "bob", "--domain", "sipio.test", "--proxy", "127.0.0.1:9", "--no-register"}, args...)
		code <- run(ctx, args, out, w)
		w.Close()
	}()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, addr, _ = strings.Cut(strings.TrimSpace(line), "@")
	return addr, code, out
}

func call(ctx context.Context, addr string, args ...string) (int, result) {
	var out, stderr bytes.Buffer
	code := run(ctx, append([]string{"call", "bob", "--user", "alice", "--domain", "sipio.test", "--proxy", addr}, args...), &out, &stderr)
	var r result
	json.Unmarshal(out.Bytes(), &r)
	return code, r
}

// Proves two commands call each other, hear the tones, print them and exit 0.
func TestRun_CallAndListenHearEachOther(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	addr, done, out := listener(t, ctx, "--tone", "600", "--hear", "440", "--for", "5s")
	code, r := call(ctx, addr, "--tone", "440", "--hear", "600", "--for", "600ms")
	if code != 0 || !r.OK || r.HeardHz != 600 || r.Stats.PacketsReceived == 0 || r.Code != 200 {
		t.Errorf("call: exit %d, %+v", code, r)
	}
	if got := <-done; got != 0 || !strings.Contains(out.String(), `"heard_hz":440`) || !strings.Contains(out.String(), `"from":"sip:alice@sipio.test"`) {
		t.Errorf("listen: exit %d, %s", got, out)
	}
}

// Proves a tone that does not come, and a refused call, are a failure with the reason printed.
func TestRun_FailsWithoutTheTone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	addr, done, _ := listener(t, ctx, "--tone", "500", "--for", "5s")
	if code, r := call(ctx, addr, "--hear", "600", "--for", "500ms"); code != 1 || r.OK || !strings.Contains(r.Error, "loudest 500 Hz") {
		t.Errorf("wrong tone: exit %d, %+v", code, r)
	}
	<-done
	addr, done, _ = listener(t, ctx, "--answer=false")
	if code, r := call(ctx, addr); code != 1 || r.Code != 486 {
		t.Errorf("refused: exit %d, %+v", code, r)
	}
	if got := <-done; got != 0 {
		t.Errorf("the refusing side exits %d", got)
	}
}

// Proves wrong use is exit 2 with the usage, before anything is sent.
func TestRun_WrongUse(t *testing.T) {
	for _, args := range [][]string{nil, {"dial"}, {"call"}, {"register", "bob"}, {"call", "bob", "--nonsense"}} {
		var out, stderr bytes.Buffer
		if code := run(t.Context(), args, &out, &stderr); code != 2 || stderr.Len() == 0 || out.Len() != 0 {
			t.Errorf("%q: exit %d, %q", args, code, out.String())
		}
	}
}
