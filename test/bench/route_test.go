// Package bench measures what deciding costs. The edge as a whole is measured by the program in edge/.
package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/endpoint"
)

const (
	accounts     = 1000
	usersOfEach  = 100
	connections  = 4
	rounds       = 7 // of each side, one after the other
	roundTime    = 1500 * time.Millisecond
	warmUp       = 500 * time.Millisecond
	questions    = 5000 // different ones, from random users of random accounts
	wantRatio    = 0.7
	pathConstant = "/constant"
)

// BenchmarkRoute compares /route, over loopback on kept connections, with a handler on the same server
// that reads the same body and answers a constant of the same size: what is left of its rate once a
// decision is made for each question. Rounds alternate, so that whatever else the machine does hits
// both; the medians count. It fails below wantRatio.
//
//	go test -run '^$' -bench BenchmarkRoute ./test/bench/
func BenchmarkRoute(b *testing.B) {
	for b.Loop() { // takes long enough for one pass
		compare(b)
	}
}

func compare(b *testing.B) {
	addr, token := serve(b)
	route := requests(api.PathRoute, token)
	constant := requests(pathConstant, token)
	load(b, addr, route, warmUp)
	load(b, addr, constant, warmUp)
	var routes, constants []round
	for range rounds {
		constants = append(constants, load(b, addr, constant, roundTime))
		routes = append(routes, load(b, addr, route, roundTime))
	}
	r, c := median(routes), median(constants)
	ratio := r.perSecond / c.perSecond
	b.Logf("%d accounts of %d users, %d connections, %d rounds of %v", accounts, usersOfEach, connections, rounds, roundTime)
	b.Logf("/route    %7.0f/s  p50 %v  p99 %v  processor time %v", r.perSecond, r.p50, r.p99, r.cpu)
	b.Logf("constant  %7.0f/s  p50 %v  p99 %v  processor time %v", c.perSecond, c.p50, c.p99, c.cpu)
	b.Logf("ratio     %.2f, at least %.2f expected; by processor time %.2f", ratio, wantRatio, float64(c.cpu)/float64(r.cpu))
	b.ReportMetric(r.perSecond, "route/s")
	b.ReportMetric(c.perSecond, "constant/s")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(float64(r.p50.Microseconds()), "p50-µs")
	b.ReportMetric(float64(r.p99.Microseconds()), "p99-µs")
	if ratio < wantRatio {
		b.Errorf("/route reaches %.2f of the constant handler's rate, less than %.2f", ratio, wantRatio)
	}
}

// directory is the large configuration, made in memory.
type directory struct {
	byDomain, byID map[string]*brain.AccountConfig
}

func (d *directory) ByDomain(s string) *brain.AccountConfig   { return d.byDomain[strings.ToLower(s)] }
func (d *directory) ByAccount(id string) *brain.AccountConfig { return d.byID[id] }
func (d *directory) NodeByName(string) *brain.Node            { return nil }
func (d *directory) ActiveNodes() int                         { return 1 }
func (d *directory) Version() int64                           { return 1 }

// large is the real store for keys, with the large directory in the place of its own.
type large struct {
	*config.Store
	dir *directory
}

func (l large) Directory() brain.Directory { return l.dir }

func domain(account int) string { return fmt.Sprintf("a%d.example.com", account) }
func username(user int) string  { return strconv.Itoa(1000 + user) }

func ha1(account, user int) string {
	return md5hex(username(user) + ":" + domain(account) + ":secret")
}

func md5hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

func newDirectory() *directory {
	d := &directory{map[string]*brain.AccountConfig{}, map[string]*brain.AccountConfig{}}
	for a := range accounts {
		id := fmt.Sprintf("acc_%d", a)
		rows := brain.AccountRows{Account: brain.Account{ID: id, Name: id, Status: brain.StatusActive},
			Domains: []brain.SIPDomain{{ID: "dom_" + id, AccountID: id, Domain: domain(a), IsPrimary: true}}}
		for u := range usersOfEach {
			uid := fmt.Sprintf("us_%d_%d", a, u)
			rows.Users = append(rows.Users, brain.SIPUser{ID: uid, AccountID: id, Username: username(u), DisplayName: "User " + username(u),
				RingTimeoutSec: 25, RingStrategy: brain.RingSimultaneous, Status: brain.StatusActive})
			rows.Devices = append(rows.Devices, brain.SIPDevice{ID: "dev" + uid, AccountID: id, UserID: uid, AuthUsername: username(u),
				Realm: domain(a), HA1MD5: ha1(a, u), RingOnFork: true, Status: brain.StatusActive})
		}
		d.byDomain[domain(a)] = brain.NewAccountConfig(1, rows)
		d.byID[id] = d.byDomain[domain(a)]
	}
	return d
}

// serve starts the endpoints and the constant handler on one server and returns its address and a key.
func serve(b *testing.B) (addr, token string) {
	b.Helper()
	store, err := config.Open(b.Context(), filepath.Join(b.TempDir(), "config.db"))
	if err != nil {
		b.Fatal(err)
	}
	token, _, err = store.NewKey(b.Context(), "bench", "", "node", []brain.Scope{brain.ScopeNode})
	if err != nil {
		b.Fatal(err)
	}
	host := ownAll(b, actor.NewHost(logsOf(inMemory()))) // what the journal costs is told by BenchmarkState
	ask := endpoint.New(large{store, newDirectory()}, &actor.Presence{Live: &actor.Live{Host: host}})
	ask.Log = slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	ask.Register(mux)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	go func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			b.Error(err)
		}
	}()
	b.Cleanup(func() {
		_ = srv.Shutdown(context.Background())
		shut(host)
		_ = store.Close()
	})
	addr = ln.Addr().String()
	mux.HandleFunc(pathConstant, answerAlways(sample(b, addr, requests(api.PathRoute, token)[0])))
	return addr, token
}

// answerAlways reads a body and answers the same whatever it says.
func answerAlways(reply []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
		_, _ = w.Write(reply)
	}
}

// sample asks one question and returns the answer, which must let the call through.
func sample(b *testing.B, addr string, request []byte) []byte {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(request); err != nil {
		b.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Contains(body, []byte(`"action":"proxy"`)) {
		b.Fatalf("%s %s, %v", res.Status, body, err)
	}
	return body
}

// requests makes whole HTTP requests, the same ones for every path: calls between random users of
// random accounts, as Kamailio asks about them.
func requests(path, token string) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([][]byte, questions)
	for i := range list {
		a, from, to := random.IntN(accounts), random.IntN(usersOfEach), random.IntN(usersOfEach-1)
		if to >= from {
			to++
		}
		body := question(i, a, from, to).Encode()
		list[i] = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: brain\r\nAuthorization: Bearer %s\r\nAccept: */*\r\n"+
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", path, token, len(body), body)
	}
	return list
}

func question(i, account, from, to int) url.Values {
	d, nonce, uri := domain(account), fmt.Sprintf("ZyX%029d", i), "sip:"+username(to)+"@"+domain(account)
	response := md5hex(ha1(account, from) + ":" + nonce + ":00000001:0a4f113b:auth:" + md5hex("INVITE:"+uri))
	return url.Values{
		"call_id": {fmt.Sprintf("%032x@192.0.2.10", i)}, "cseq": {"2"}, "branch": {fmt.Sprintf("z9hG4bK%016x", i)}, "method": {"INVITE"},
		"source_ip": {"192.0.2.10"}, "source_port": {"5060"}, "transport": {"udp"}, "node": {"edge1"}, "user_agent": {"Phone 4.2 (build 17)"},
		"auth_username": {username(from)}, "auth_realm": {d}, "auth_nonce": {nonce}, "auth_uri": {uri}, "auth_response": {response},
		"auth_algorithm": {"MD5"}, "auth_cnonce": {"0a4f113b"}, "auth_nc": {"00000001"}, "auth_qop": {"auth"},
		"from_user": {username(from)}, "from_domain": {d}, "from_name": {"User " + username(from)},
		"to_user": {username(to)}, "to_domain": {d}, "ruri": {uri}, "ruri_user": {username(to)}, "ruri_domain": {d},
	}
}

// round is what one round measured.
type round struct {
	perSecond float64
	cpu       time.Duration // of a question, asker included: unlike the rate it hardly feels other load
	p50, p99  time.Duration
}

// load asks over all connections at once for a time, each connection one question after the other.
func load(b *testing.B, addr string, requests [][]byte, during time.Duration) round {
	b.Helper()
	var (
		askers sync.WaitGroup
		all    [connections][]time.Duration
		errs   [connections]error
	)
	began, cpuBefore := time.Now(), cpuTime(b)
	for i := range connections {
		askers.Go(func() { all[i], errs[i] = ask(addr, requests[i*len(requests)/connections:], began.Add(during)) })
	}
	askers.Wait()
	took, cpu := time.Since(began), cpuTime(b)-cpuBefore
	if err := errors.Join(errs[:]...); err != nil {
		b.Fatal(err)
	}
	times := slices.Concat(all[:]...)
	slices.Sort(times)
	return round{float64(len(times)) / took.Seconds(), cpu / time.Duration(len(times)), times[len(times)/2], times[len(times)*99/100]}
}

// cpuTime is what the process has used of its processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ask sends requests over one connection until a time and returns how long each took. It reads replies
// with as little work as it can, since it runs on the processors it measures.
func ask(addr string, requests [][]byte, until time.Time) (times []time.Duration, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until.Add(5 * time.Second)); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 16<<10)
	began := time.Now()
	for i := 0; began.Before(until); i++ {
		if _, err := conn.Write(requests[i%len(requests)]); err != nil {
			return nil, err
		}
		if err := skipReply(in); err != nil {
			return nil, err
		}
		now := time.Now()
		times = append(times, now.Sub(began))
		began = now
	}
	return times, nil
}

// skipReply reads one reply, which must be 200 with a Content-Length.
func skipReply(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("got %s", line)
	}
	length := -1
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(v)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("a reply without Content-Length")
	}
	_, err = in.Discard(length)
	return err
}

// median takes each figure's median over the rounds.
func median(rounds []round) round {
	pick := func(of func(round) float64) float64 {
		var list []float64
		for _, r := range rounds {
			list = append(list, of(r))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return round{pick(func(r round) float64 { return r.perSecond }),
		time.Duration(pick(func(r round) float64 { return float64(r.cpu) })),
		time.Duration(pick(func(r round) float64 { return float64(r.p50) })),
		time.Duration(pick(func(r round) float64 { return float64(r.p99) }))}
}

func (*directory) ByDID(string) (*brain.AccountConfig, *brain.DID)               { return nil, nil }
func (*directory) TrunkBySource(string) (*brain.AccountConfig, *brain.SIPTrunk)  { return nil, nil }
func (*directory) TrunkByTLSName(string) (*brain.AccountConfig, *brain.SIPTrunk) { return nil, nil }
func (*directory) TrunkSources() []string                                        { return nil }
func (*directory) Nodes() []*brain.Node                                          { return nil }
