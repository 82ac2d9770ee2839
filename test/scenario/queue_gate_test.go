package scenario

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/sipio/sipio/test/edge"
)

// gate stands between a node agent and its brain, and keeps questions of one kind back when it is told to: before the
// brain hears of them, or before the node agent hears the answer.
type gate struct {
	proxy *httputil.ReverseProxy

	mu   sync.Mutex
	keep *withheld
}

// withheld is one time for which questions are kept back.
type withheld struct {
	path    string
	answers bool          // not the questions themselves
	came    chan struct{} // one was kept back; has room
	open    chan struct{} // closed when they may go on …
	lost    bool          // … or not at all
}

// startGated is a node of the account line with more of its configuration, and with a gate.
func startGated(t *testing.T, more string) (*lineNode, *gate) {
	t.Helper()
	ports, err := edge.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	brain, err := url.Parse("http://127.0.0.1:" + strconv.Itoa(ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{proxy: httputil.NewSingleHostReverseProxy(brain)}
	g.proxy.FlushInterval = -1
	g.proxy.ErrorLog = log.New(io.Discard, "", 0) // brains are killed on purpose
	server := httptest.NewServer(g)
	t.Cleanup(server.Close) // behind the edge's end
	return startLineWith(t, more, edge.Options{BrainPort: ports[0], NodeFlags: []string{"--brain-urls=" + server.URL}}), g
}

// shut keeps questions back from now on, or the answers to them.
func (g *gate) shut(path string, answers bool) *withheld {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keep = &withheld{path: path, answers: answers, came: make(chan struct{}, 1), open: make(chan struct{})}
	return g.keep
}

// lift lets go on what is kept back.
func (g *gate) lift() { g.end(false) }

// lose has what is kept back fail, as it does when a brain dies over it.
func (g *gate) lose() { g.end(true) }

func (g *gate) end(lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keep != nil {
		g.keep.lost = lost
		close(g.keep.open)
	}
	g.keep = nil
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	k := g.keep
	g.mu.Unlock()
	if k == nil || r.URL.Path != k.path {
		g.proxy.ServeHTTP(w, r)
		return
	}
	question, err := io.ReadAll(r.Body) // so that it is seen when whoever asks dies
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(question))
	if !k.answers {
		if !k.wait(w, r) {
			return
		}
		g.proxy.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	g.proxy.ServeHTTP(answer, r)
	if !k.wait(w, r) {
		return
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// wait keeps a question back until it may go on. False: it is lost, or whoever asked has gone.
func (k *withheld) wait(w http.ResponseWriter, r *http.Request) bool {
	select {
	case k.came <- struct{}{}:
	default:
	}
	select {
	case <-k.open:
		if k.lost {
			w.WriteHeader(http.StatusBadGateway)
		}
		return !k.lost
	case <-r.Context().Done():
		return false
	}
}
