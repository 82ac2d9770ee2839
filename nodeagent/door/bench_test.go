package door

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// BenchmarkDoor measures what the door adds to a decision, in CPU time of the whole process per
// question. Load generator and brain are the same bare loops in every row, so a row minus "direct"
// is the door alone. Rows name the door's server and its client: lean is what ships, std is
// net/http, kept here to show what the lean pair saves.
func BenchmarkDoor(b *testing.B) {
	brainAddr := bareBrain(b)
	b.Run("direct", func(b *testing.B) { load(b, brainAddr) })
	for _, server := range []string{"std", "lean"} {
		for _, carrier := range []string{"std", "lean"} {
			b.Run(server+"-"+carrier, func(b *testing.B) { load(b, benchDoor(b, brainAddr, server, carrier)) })
		}
	}
}

func benchDoor(b *testing.B, brainAddr, server, carrier string) string {
	b.Helper()
	u := &url.URL{Scheme: "http", Host: brainAddr}
	var c client = newLeanClient(u, "key", 8, time.Second)
	if carrier == "std" {
		c = newStdClient(u, "key", nil, 8)
	}
	cfg := DefaultConfig()
	cfg.Brains, cfg.Log = []string{"bench"}, slog.New(slog.DiscardHandler)
	d, err := newDoor(cfg, []client{c})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	if server == "lean" {
		go func() { _ = d.Serve(b.Context(), ln) }()
		return ln.Addr().String()
	}
	srv := &http.Server{Handler: stdFront(d), ReadHeaderTimeout: time.Second}
	b.Cleanup(func() { _ = srv.Close() })
	go d.watch(b.Context())
	go func() { _ = srv.Serve(ln) }()
	return ln.Addr().String()
}

// stdFront is the door behind net/http, as it would be without its own server.
func stdFront(d *Door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxBody))
		if err != nil {
			return
		}
		req := &request{
			received: time.Now(), method: r.Method, path: r.URL.Path,
			contentType: []byte(r.Header.Get("Content-Type")), body: body,
		}
		rep := d.decision(req)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(rep.body)))
		w.WriteHeader(rep.status)
		_, _ = w.Write(rep.body)
	})
}

// load sends b.N questions over four kept connections and reports CPU microseconds each.
func load(b *testing.B, addr string) {
	const workers = 4
	b.ReportAllocs()
	before := cpuTime()
	done := make(chan error, workers)
	for w := range workers {
		go func() { done <- loadConn(addr, w, b.N/workers+1) }()
	}
	for range workers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func loadConn(addr string, worker, n int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	br := bufio.NewReader(conn)
	var out []byte
	for i := range n {
		body := fmt.Appendf(nil, "method=REGISTER&call_id=%d-%d&cseq=1&branch=z9hG4bK%d&%s", worker, i, i, benchFields)
		out = fmt.Appendf(out[:0], "POST /auth HTTP/1.1\r\nHost: x\r\nUser-Agent: kamailio\r\nAccept: */*\r\nContent-Length: %d\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n%s", len(body), body)
		if _, err := conn.Write(out); err != nil {
			return err
		}
		if _, err := readBare(br); err != nil {
			return err
		}
	}
	return nil
}

const benchFields = "source_ip=192.0.2.7&source_port=5060&transport=udp&auth_username=alice-desk&auth_realm=pbx.example&auth_nonce=ZOabcdefabcdefabcdefabcdefabcdef&auth_uri=sip%3Apbx.example&auth_response=0123456789abcdef0123456789abcdef&auth_cnonce=abcdef&auth_nc=00000001&auth_qop=auth&to_user=alice-desk&to_domain=pbx.example&from_user=alice-desk&from_domain=pbx.example&user_agent=Phone%2F1.0"

// readBare reads one message by its Content-Length and nothing else.
func readBare(br *bufio.Reader) (int, error) {
	length := 0
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) == 2 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(v)))
		}
	}
	return br.Discard(length)
}

// bareBrain answers every request with the same decision.
func bareBrain(b *testing.B) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	body := `{"action":"accept","account_id":"acc_1","user_id":"usr_1","device_id":"dev_1","aor":"sip:alice-desk@pbx.example","max_contacts":3,"config_version":7}`
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				br := bufio.NewReader(conn)
				for {
					if _, err := readBare(br); err != nil {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
