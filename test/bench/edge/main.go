// Command edge measures what it costs that the brain decides: REGISTER pairs a second and full calls a
// second of a Kamailio with password and route in its configuration, against the same Kamailio asking
// door and brain, side by side in one run. A third Kamailio asks nobody but builds each question and
// reads a canned answer; the difference to the real one is what curl and its waiting cost.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/test/edge"
)

func main() { os.Exit(run()) }

func run() int {
	defer edge.RemoveBinaries()
	rounds := flag.Int("rounds", 5, "rounds; each measures every variant once, medians are printed")
	calls := flag.Int("calls", 4000, "calls a measurement; REGISTER pairs are three times as many")
	only := flag.String("only", "", "measure only this variant (static, canned, real), for a profiler")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	if err := bench(ctx, *rounds, *calls, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench-edge:", err)
		return 1
	}
	return 0
}

const (
	domain   = "bench.test"
	password = "bench-password"
	users    = 200
)

// variant is one Kamailio under measurement.
type variant struct {
	name  string
	sip   string
	procs []*edge.Proc // whose CPU is counted, Kamailio first
}

func bench(ctx context.Context, rounds, calls int, only string) error {
	e, err := edge.Start(ctx, edge.Options{Children: 8, ContactTimer: 60, Config: config(), NodeFlags: []string{"--max-in-flight=6"}})
	if err != nil {
		return err
	}
	defer e.Stop()
	port, err := freeUDP()
	if err != nil {
		return err
	}
	variants, err := startVariants(ctx, e, fmt.Sprintf("sip:1000@127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	for _, v := range variants[:2] {
		defer v.procs[0].Stop()
	}
	if err := injection(e.Dir); err != nil {
		return err
	}
	for _, v := range variants {
		if err := registerCallee(ctx, e.Dir, v.sip, port); err != nil {
			return err
		}
	}
	callee, err := startCallee(e.Dir, port)
	if err != nil {
		return err
	}
	defer callee.Stop()
	if only != "" {
		variants = slices.DeleteFunc(variants, func(v variant) bool { return v.name != only })
	}
	for _, kind := range []load{registerLoad(calls * 3), callLoad(calls)} {
		if err := measure(ctx, e.Dir, kind, variants, rounds); err != nil {
			return err
		}
	}
	return nil
}

// config is an account with its users, all with one password, in the form of `sipio apply`.
func config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: account\nname: bench\nspec: {}\n---\nkind: sip_domain\naccount: bench\nname: %s\nspec: {is_primary: true}\n", domain)
	for i := range users {
		fmt.Fprintf(&b, "---\nkind: sip_user\naccount: bench\nname: \"%d\"\nspec: {}\n---\nkind: sip_device\naccount: bench\nname: %d@%s\nspec: {user_id: \"%d\", password: %s}\n",
			1000+i, 1000+i, domain, 1000+i, password)
	}
	return b.String()
}

// startVariants starts the static and the canned Kamailio; the real one runs already.
func startVariants(ctx context.Context, e *edge.Edge, callee string) ([]variant, error) {
	static, staticSIP, err := e.Variant(ctx, "static", staticEdit(callee))
	if err != nil {
		return nil, err
	}
	canned, cannedSIP, err := e.Variant(ctx, "canned", cannedEdit)
	if err != nil {
		static.Stop()
		return nil, err
	}
	return []variant{
		{"static", staticSIP, []*edge.Proc{static}},
		{"canned", cannedSIP, []*edge.Proc{canned}},
		{"real", e.SIP, []*edge.Proc{e.Kamailio, e.Node, e.Brain}},
	}, nil
}

func staticEdit(callee string) func(path, content string) string {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(edge.Root(), "test", "bench", "static", name))
		if err != nil {
			panic(err) // part of the repository
		}
		return strings.NewReplacer("BENCH_PASSWORD", password, "BENCH_CALLEE", callee).Replace(string(b))
	}
	return func(path, content string) string {
		switch path {
		case "route/register.cfg":
			return read("register.cfg")
		case "route/call.cfg":
			return read("call.cfg")
		}
		return content
	}
}

// cannedEdit replaces the HTTP exchange by a constant answer; all else stays.
func cannedEdit(path, content string) string {
	canned := map[string]string{
		"route/register.cfg": `{"action":"accept","account_id":"acc_bench","user_id":"us_bench","device_id":"dev_bench","aor":"sip:' + $tU + '@bench.test","max_contacts":10,"config_version":1}`,
		"route/call.cfg":     `{"rtjson":{"action":"proxy","version":"1.0","account_id":"acc_bench","config_version":1,"call":{"direction":"internal","from":"1001","to":"1001","max_duration_sec":14400,"token":"cannedcannedcanned"},"routing":"parallel","media":{"to_rtp":"replace-origin replace-session-connection RTP/AVP ICE=remove DTLS=off SDES-off rtcp-mux-demux","to_webrtc_offer":"replace-origin replace-session-connection RTP/SAVPF ICE=force DTLS=passive SDES-off rtcp-mux-offer generate-mid","to_webrtc_answer":"replace-origin replace-session-connection RTP/SAVPF ICE=force DTLS=passive SDES-off rtcp-mux-accept generate-mid"},"routes":[{"step":1,"uri":"sip:1000@bench.test","fr_inv_timer":25000}]}}`,
	}
	answer, ok := canned[path]
	if !ok {
		return content
	}
	lines := strings.Split(content, "\n")
	for i, l := range lines {
		if strings.Contains(l, "http_connect(") {
			lines[i] = "    $var(res) = '" + answer + "';"
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "$rc != 200 || ", "")
}

// result is what one measurement of one variant saw.
type result struct {
	perSec   float64
	p50, p99 float64   // milliseconds
	cpu      []float64 // microseconds a call of each process of the variant, then of sipp
	failed   int
}

func measure(ctx context.Context, dir string, l load, variants []variant, rounds int) error {
	results := make(map[string][]result)
	for round := range rounds {
		for i := range variants {
			v := variants[(i+round)%len(variants)] // each goes first in turn
			r, err := l.run(ctx, dir, v)
			if err != nil {
				return fmt.Errorf("%s on %s: %w\n%s", l.name, v.name, err, v.procs[0].Tail(12))
			}
			results[v.name] = append(results[v.name], r)
		}
	}
	report(l, variants, results)
	return nil
}

func report(l load, variants []variant, results map[string][]result) {
	med := func(name string, f func(result) float64) float64 {
		var all []float64
		for _, r := range results[name] {
			all = append(all, f(r))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	rate := func(r result) float64 { return r.perSec }
	base := med(variants[0].name, rate)
	fmt.Printf("\n%s, medians of %d rounds of %d, %d at once\n", l.name, len(results[variants[0].name]), l.count, l.parallel)
	fmt.Printf("| variant | per s (min–max) | ratio | p50 ms | p99 ms | kamailio µs | door µs | brain µs | sipp µs | failed |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, v := range variants {
		rs := results[v.name]
		lo := slices.MinFunc(rs, func(a, b result) int { return cmp.Compare(a.perSec, b.perSec) }).perSec
		hi := slices.MaxFunc(rs, func(a, b result) int { return cmp.Compare(a.perSec, b.perSec) }).perSec
		cpu := func(i int) string {
			if i >= len(v.procs) {
				return "–"
			}
			return fmt.Sprintf("%.0f", med(v.name, func(r result) float64 { return r.cpu[i] }))
		}
		failed := 0
		for _, r := range rs {
			failed += r.failed
		}
		fmt.Printf("| %s | %.0f (%.0f–%.0f) | %.2f | %.2f | %.2f | %s | %s | %s | %.0f | %d |\n", v.name, med(v.name, rate), lo, hi,
			med(v.name, rate)/base, med(v.name, func(r result) float64 { return r.p50 }), med(v.name, func(r result) float64 { return r.p99 }),
			cpu(0), cpu(1), cpu(2), med(v.name, func(r result) float64 { return r.cpu[len(r.cpu)-1] }), failed)
	}
	if len(variants) < 3 {
		return
	}
	k := func(name string) float64 { return med(name, func(r result) float64 { return r.cpu[0] }) }
	fmt.Printf("where Kamailio's microseconds go: %.0f static work, %.0f question and directive, %.0f curl and its sockets\n",
		k("static"), k("canned")-k("static"), k("real")-k("canned"))
}
