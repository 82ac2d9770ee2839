package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/journal"
	calls "github.com/sipio/sipio/controller/session"
)

// wantFlowSteps is what is expected of the whole brain with the embedded journal, in steps a second: a few thousand callers
// who press a key every other second, on a machine that has other things to do.
const wantFlowSteps = 1_500

// stepsACall is how many outcomes a measured call reports before its caller hangs up.
const stepsACall = 20

// menuFlow is a menu and an announcement, over and over, with a condition and a variable between them.
const menuFlow = `{"start":"in","nodes":[{"id":"in","data":{"kind":"entry"}},
	{"id":"menu","data":{"kind":"menu","promptText":"Press one for sales, two for support.","maxDigits":1}},
	{"id":"set","data":{"kind":"set","assignments":{"seen":"{{ caller_number }} {{ called_number }}"}}},
	{"id":"if","data":{"kind":"condition","all":[{"left":"{{ seen }}","op":"starts","right":"49"}]}},
	{"id":"say","data":{"kind":"say","text":"You are number {{ seen }}."}}],
	"edges":[{"source":"in","target":"menu"},{"source":"menu","target":"set"},{"source":"set","target":"if"},{"source":"if","target":"say"},{"source":"say","target":"menu"}]}`

// flowDirectory has accounts that all run the menu.
type flowDirectory struct {
	brain.Directory
	accounts map[string]*brain.AccountConfig
}

func (d flowDirectory) ByAccount(id string) *brain.AccountConfig { return d.accounts[id] }

func newFlowDirectory(b *testing.B) flowDirectory {
	b.Helper()
	d := flowDirectory{accounts: map[string]*brain.AccountConfig{}}
	for i := range manyAccounts {
		id := accountName(i)
		f := &brain.CallFlow{ID: "flow_" + id, AccountID: id, Version: 1}
		if err := json.Unmarshal([]byte(menuFlow), &f.LiveGraph); err != nil {
			b.Fatal(err)
		}
		d.accounts[id] = brain.NewAccountConfig(1, brain.AccountRows{Account: brain.Account{ID: id}, Flows: []*brain.CallFlow{f}})
	}
	return d
}

// stillSounds answers every sound at once: the media store is not what is measured.
type stillSounds struct{}

func (stillSounds) Resolve(context.Context, *brain.AccountConfig, brain.Sound) ([]api.MediaRef, error) {
	return []api.MediaRef{{Key: "tts/0123456789abcdef.wav", SHA256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Bytes: 16000}}, nil
}

// machineOwner is the machines alone, without actors and journal: for one caller.
type machineOwner struct {
	env func(string) *session.Env
	m   map[string]*session.Machine
}

func (o machineOwner) Step(_ context.Context, accountID, token string, req *session.Request) (session.Reply, error) {
	id := brain.CallObject(accountID, token)
	m := o.m[id]
	if m == nil {
		m = session.New(id)
		o.m[id] = m
	}
	now := time.Now().UnixMilli()
	op, reply := m.Decide(now, o.env(accountID), req)
	if op != nil {
		if _, _, err := m.Apply(now, op); err != nil {
			return reply, err
		}
	}
	if reply.Over {
		delete(o.m, id)
	}
	return reply, nil
}

func (o machineOwner) Renew(context.Context, []api.AliveCall) error { return nil }
func (o machineOwner) Late(context.Context) []api.AliveCall         { return nil }

// askFlow asks as a node agent does: the same question again while nobody can tell.
func askFlow(ctx context.Context, c *calls.Calls, req *api.FlowRequest) (reply api.FlowReply, err error) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if reply, err = c.Flow(ctx, req); brain.CodeOf(err) != brain.EUnavailable {
			return reply, err
		}
	}
	return reply, err
}

// driveFlow lets callers walk through the menu for a time, each call a new one of another account.
func driveFlow(b *testing.B, c *calls.Calls, callers int, during time.Duration) round {
	b.Helper()
	var all sync.WaitGroup
	times := make([][]time.Duration, callers)
	first := int(drives.Add(1)) * 10_000_000
	began, cpuBefore := time.Now(), cpuTime(b)
	for i := range callers {
		all.Go(func() {
			for n := first; time.Since(began) < during; n++ {
				id := accountName((i + n*callers) % manyAccounts)
				req := &api.FlowRequest{AccountID: id, Token: strconv.Itoa(i) + "-" + strconv.Itoa(n), CallID: strconv.Itoa(n) + "@192.0.2.10", Node: "edge1",
					Start: &api.FlowStart{TargetKind: "flow", TargetID: "flow_" + id, Channel: strconv.Itoa(n), Vars: map[string]string{"caller_number": "493012345", "called_number": "493099"}}}
				for k := range stepsACall {
					at := time.Now()
					reply, err := askFlow(b.Context(), c, req)
					if err != nil {
						b.Errorf("caller %d, step %d: %v", i, k, err)
						return
					}
					times[i] = append(times[i], time.Since(at))
					req.Start, req.Seq = nil, reply.Seq
					switch reply.Command {
					case api.CommandGather:
						req.Outcome, req.Data = api.OutcomeDigits, map[string]string{"digits": "1"}
					case api.CommandPlay:
						req.Outcome, req.Data = api.OutcomeDone, nil
					default:
						b.Errorf("caller %d, step %d: %s %s", i, k, reply.Command, reply.Params.Reason)
						return
					}
				}
				req.Outcome = api.OutcomeHangup
				if _, err := askFlow(b.Context(), c, req); err != nil {
					b.Errorf("caller %d hangs up: %v", i, err)
					return
				}
			}
		})
	}
	if all.Wait(); b.Failed() {
		b.FailNow()
	}
	took, cpu := time.Since(began), cpuTime(b)-cpuBefore
	ops := slices.Concat(times...)
	slices.Sort(ops)
	return round{float64(len(ops)) / took.Seconds(), cpu / time.Duration(len(ops)), ops[len(ops)/2], ops[len(ops)*99/100]}
}

// BenchmarkFlow measures the steps of call flows: how many the brain takes in a second and how long the node agent waits
// for the next command; by the machines alone, by the whole brain with a journal in memory, and with the embedded one that
// syncs every write. A step here is a menu's digit with two logic steps behind it, or the end of an announcement. Below
// what is expected it fails.
//
//	go test -run '^$' -bench Flow ./test/bench/
func BenchmarkFlow(b *testing.B) {
	dir := newFlowDirectory(b)
	measure := func(b *testing.B, owner func(env func(string) *session.Env) calls.Owner, callers int, want float64) {
		c := &calls.Calls{Directory: func() brain.Directory { return dir }, Sounds: stillSounds{}, Log: quiet}
		c.Owner = owner(c.Env)
		for b.Loop() { // takes long enough for one pass
			driveFlow(b, c, callers, stateTime/6) // warm
			r := driveFlow(b, c, callers, stateTime)
			b.ReportMetric(r.perSecond, "steps/s")
			b.ReportMetric(float64(r.p50.Nanoseconds())/1000, "p50-µs")
			b.ReportMetric(float64(r.p99.Nanoseconds())/1000, "p99-µs")
			b.ReportMetric(float64(r.cpu.Nanoseconds())/1000, "cpu-µs/step")
			if r.perSecond < want {
				b.Errorf("%.0f steps a second, %.0f are expected", r.perSecond, want)
			}
		}
	}
	on := func(b *testing.B, open func() shardLogs) func(env func(string) *session.Env) calls.Owner {
		return func(env func(string) *session.Env) calls.Owner {
			h := actor.NewHost(logsOf(open()))
			h.Env = env
			ownAll(b, h)
			b.Cleanup(func() { shut(h) })
			return &actor.Sessions{Live: &actor.Live{Host: h}}
		}
	}
	b.Run("machine/callers=1", func(b *testing.B) {
		measure(b, func(env func(string) *session.Env) calls.Owner {
			return machineOwner{env, map[string]*session.Machine{}}
		}, 1, 0)
	})
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("memory/callers=%d", callers), func(b *testing.B) {
			measure(b, on(b, func() shardLogs { return inMemory() }), callers, 0)
		})
		b.Run(fmt.Sprintf("embedded/callers=%d", callers), func(b *testing.B) {
			want := 0.0
			if callers >= 512 {
				want = wantFlowSteps
			}
			measure(b, on(b, func() shardLogs { return openBus(b, journal.Config{Dir: b.TempDir()}) }), callers, want)
		})
	}
}
