package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/edge"
)

const password = "bench"

// node is a media server with a node agent or one that does nothing, and another media server that plays the callers.
type node struct {
	media, callers, agent *edge.Proc // agent nil: nobody drives the calls
	mediaSIP, callersESL  string
	health                string
	steps                 atomic.Int64
	brain                 *httptest.Server
	idle                  net.Listener
	calls                 int
	stops                 []func()
}

func newNode(ctx context.Context, dir string, driven bool) (_ *node, err error) {
	bin, err := edge.Binaries()
	if err != nil {
		return nil, err
	}
	at, err := edge.Addresses(7)
	if err != nil {
		return nil, err
	}
	n := &node{mediaSIP: at[0], callersESL: at[4]}
	defer func() {
		if err != nil {
			n.stop()
		}
	}()
	if driven {
		n.brain = httptest.NewServer(n.menu())
		if n.agent, err = n.nodeAgent(dir, bin, at); err != nil {
			return nil, err
		}
		if err = n.agent.Start(nil); err != nil {
			return nil, err
		}
	} else if err = n.leaveAlone(ctx, at[2]); err != nil {
		return nil, err
	}
	n.media = edge.NewProc(dir, "media", bin+"/fsim", "-sip", at[0], "-esl", at[1], "-password", password, "-agents", at[2], "-rtp-min", "30000", "-rtp-max", "34998")
	n.callers = edge.NewProc(dir, "callers", bin+"/fsim", "-sip", at[3], "-esl", at[4], "-password", password, "-agents", at[6], "-rtp-min", "35000", "-rtp-max", "39998")
	return n, errors.Join(n.media.Start(nil), n.callers.Start(nil))
}

// sound is what the menu says: two seconds of silence as a WAV file of 8 kHz, 16 bit; prompt names it.
var sound, prompt = func() ([]byte, api.MediaRef) {
	const bytes = 2 * 2 * 8000
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data")
	b = binary.LittleEndian.AppendUint32(b, bytes)
	b = append(b, make([]byte, bytes)...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	sum := sha256.Sum256(b)
	return b, api.MediaRef{Key: "acc_1/media/menu.wav", SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(b))}
}()

// menu is a brain that asks for a digit, again and again.
func (n *node) menu() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(api.PathFlow, func(w http.ResponseWriter, r *http.Request) {
		var req api.FlowRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil {
			http.Error(w, "no question", http.StatusBadRequest)
			return
		}
		reply := api.FlowReply{Seq: req.Seq + 1, Command: api.CommandGather,
			Params: api.CommandParams{Files: []api.MediaRef{prompt}, BargeIn: "1", MinDigits: 1, MaxDigits: 1, TimeoutMS: 60_000, InterDigitMS: 3000}}
		switch req.Outcome {
		case api.OutcomeDigits:
			n.steps.Add(1)
		case api.OutcomeHangup, api.OutcomeLost:
			reply.Command = api.CommandNoop
		}
		_ = json.NewEncoder(w).Encode(reply)
	})
	mux.HandleFunc(api.PathMedia, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderSHA256, prompt.SHA256)
		_, _ = w.Write(sound)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"version":"` + api.Version + `"}`))
	})
	return mux
}

func (n *node) nodeAgent(dir, bin string, at []string) (*edge.Proc, error) {
	keys := filepath.Join(dir, "key")
	if err := os.WriteFile(keys, []byte(password), 0o600); err != nil {
		return nil, err
	}
	door, err := edge.Addresses(1)
	if err != nil {
		return nil, err
	}
	n.health = "http://" + at[5] + "/health"
	return edge.NewProc(dir, "agent", bin+"/sipio-node", "--brain-urls="+n.brain.URL, "--brain-key-file="+keys, "--media-key-file="+keys,
		"--media-esl="+at[1], "--media-listen="+at[2], "--media-dir="+filepath.Join(dir, "media"), "--op-listen="+at[5], "--door-listen="+door[0],
		"--kamailio-socket="+filepath.Join(dir, "nobody.sock"), "--kamailio-client="+filepath.Join(dir, "agent.sock"), "--spool-dir="+filepath.Join(dir, "spool"),
		"--trunk-file=", "--survival=false", "--log-level=error"), nil
}

// leaveAlone answers each call that the media server brings and does nothing more.
func (n *node) leaveAlone(ctx context.Context, addr string) (err error) {
	if n.idle, err = net.Listen("tcp", addr); err != nil {
		return err
	}
	go func() {
		_ = esl.Serve(ctx, n.idle, esl.Options{}, func(ctx context.Context, c *esl.Conn, channel *esl.Event) {
			_, _ = c.API(ctx, "sched_del "+channel.UUID())
			_ = c.Execute(ctx, "", "answer", "", esl.Execute{})
			<-c.Done()
		})
	}()
	return nil
}

// dial has the callers call, and returns the connection to their media server.
func (n *node) dial(ctx context.Context, calls int) (*esl.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := esl.NewClient(n.callersESL, password, esl.Options{})
	running, stop := context.WithCancel(context.Background())
	n.stops = append(n.stops, stop)
	go client.Run(running)
	c, err := client.Wait(ctx)
	if err != nil {
		return nil, err
	}
	n.calls = calls
	for i := range calls {
		command := fmt.Sprintf("originate {origination_uuid=%s,sip_h_%s=tok%d,sip_h_%s=acc_1,sip_h_%s=flow/flow_1}sofia/sipio/sip:call@%s &park",
			callerID(i), api.HeaderCall, i, api.HeaderAccount, api.HeaderApp, n.mediaSIP)
		if _, err := c.BgAPI(ctx, command); err != nil {
			return nil, fmt.Errorf("call %d: %w", i, err)
		}
	}
	return c, nil
}

func callerID(i int) string { return "caller-" + strconv.Itoa(i) }

// press has every caller press a key every 500 ms, spread over that time.
func (n *node) press(ctx context.Context, c *esl.Conn) {
	tick := time.NewTicker(500 * time.Millisecond / time.Duration(n.calls))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if _, err := c.API(ctx, "uuid_send_dtmf "+callerID(i%n.calls)+" 1@100"); err == nil && n.agent == nil {
			n.steps.Add(1)
		}
	}
}

// sample is what has been used since the start.
type sample struct {
	steps        int64
	agent, media time.Duration // processor time
}

func (n *node) sample() sample {
	s := sample{steps: n.steps.Load(), media: used(n.media)}
	if n.agent != nil {
		s.agent = used(n.agent)
	}
	return s
}

// used is the processor time of a process, from /proc/PID/schedstat of its threads: in nanoseconds, where stat has ticks.
func used(p *edge.Proc) time.Duration {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.PID()))
	var total int64
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		total += ns
	}
	return time.Duration(total)
}

// digitTimes is what the node agent says of the time from a digit to the next command, in milliseconds.
func (n *node) digitTimes() (p50, p99 float64, err error) {
	resp, err := http.Get(n.health)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	var health struct {
		Steps map[string]struct {
			P50MS float64 `json:"p50_ms"`
			P99MS float64 `json:"p99_ms"`
		} `json:"steps"`
	}
	err = json.NewDecoder(resp.Body).Decode(&health)
	return health.Steps["digit"].P50MS, health.Steps["digit"].P99MS, err
}

func (n *node) tails() string {
	text := n.media.Tail(8) + n.callers.Tail(8)
	if n.agent != nil {
		text += n.agent.Tail(8)
	}
	return text
}

func (n *node) stop() {
	for _, stop := range n.stops {
		stop()
	}
	for _, p := range []*edge.Proc{n.callers, n.agent, n.media} {
		if p != nil {
			p.Stop()
		}
	}
	if n.brain != nil {
		n.brain.Close()
	}
	if n.idle != nil {
		_ = n.idle.Close()
	}
}
