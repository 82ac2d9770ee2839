// Package op takes what the brain wants done on this node now (POST /op): each order once, by its id, and none that is old.
package op

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of the orders.
const (
	maxBody     = 64 << 10
	maxID       = 128
	maxAnswers  = 4096 // remembered, for orders that come again; what is older than the oldest is not taken
	window      = api.OpWindowMS * time.Millisecond
	maxAtOnce   = 64               // carried out at the same time; more are told to come again
	doTimeout   = 10 * time.Second // one order
	retryAfter  = "1"              // seconds
	problemType = "text/plain; charset=utf-8"
)

// Func carries out one kind of order. Its error becomes the reply's, for operators to read.
type Func func(ctx context.Context, op api.Op) (api.OpReply, error)

// Config is what a Handler needs. Access, Log and Now may be left out.
type Config struct {
	Key    string          // bearer token of the brain for this node; "" refuses everybody
	Access Access          // what the tunnel in front of this node hands on besides
	Kinds  map[string]Func // by api.Op.Kind
	Log    *slog.Logger
	Now    func() time.Time
}

// Access is the access service token of a tunnel, which each order has to bring too. The zero Access wants none.
type Access struct{ ID, Secret string }

// Handler is the http.Handler of api.PathOp.
type Handler struct {
	key    [sha256.Size]byte
	access [2][sha256.Size]byte
	cfg    Config
	log    *slog.Logger
	slots  chan struct{}

	mu      sync.Mutex
	answers map[string]*answer
	order   []string // ids of answers by atMS, oldest first
	floorMS int64    // orders up to that time are forgotten, or went to a process before this one
}

// answer is what an order came to, or comes to: done is closed then.
type answer struct {
	body  [sha256.Size]byte // content of the order: another one under the same id is a mistake
	atMS  int64             // when it was sent
	done  chan struct{}
	reply api.OpReply
}

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Handler{
		key: sha256.Sum256([]byte(cfg.Key)), access: [2][sha256.Size]byte{sha256.Sum256([]byte(cfg.Access.ID)), sha256.Sum256([]byte(cfg.Access.Secret))},
		cfg: cfg, log: cfg.Log, slots: make(chan struct{}, maxAtOnce), answers: map[string]*answer{}, floorMS: cfg.Now().UnixMilli() - 1,
	}
}

// ServeHTTP answers 200 with an api.OpReply to an order that was understood, whether it could be carried out or
// not; 401, 405, 400, 409 (an id used for another order, or one that is old), 413 and 503 (too much to do) otherwise.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.knows(r) {
		refuse(w, http.StatusUnauthorized, "no valid key")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "POST only")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, status, "the body cannot be read")
		return
	}
	order, err := read(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	reply, status, why := h.once(r.Context(), order)
	if status != http.StatusOK {
		w.Header().Set("Retry-After", retryAfter)
		refuse(w, status, why)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(reply); err != nil {
		h.log.Debug("the reply to an order was not delivered", "id", order.ID, "error", err)
	}
}

// knows compares what says that an order is the brain's in constant time, whatever its length, and tells nobody which part was wrong.
func (h *Handler) knows(r *http.Request) bool {
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	right := same(given, h.key)
	if h.cfg.Access != (Access{}) {
		right &= same(r.Header.Get(api.HeaderAccessID), h.access[0]) & same(r.Header.Get(api.HeaderAccessSecret), h.access[1])
	}
	return right == 1 && bearer && h.cfg.Key != ""
}

// same is 1 when a text has the sum.
func same(text string, want [sha256.Size]byte) int {
	sum := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(sum[:], want[:])
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, why+"\n")
}

// read decodes an order. Fields of a newer brain are passed over.
func read(body []byte) (api.Op, error) {
	var op api.Op
	if err := json.Unmarshal(body, &op); err != nil {
		return op, errors.New("the body is no JSON of an order")
	}
	if op.ID == "" || len(op.ID) > maxID {
		return op, errors.New("id: 1 to 128 bytes")
	}
	if op.Kind == "" {
		return op, errors.New("kind: missing")
	}
	if op.TimeMS <= 0 {
		return op, errors.New("time_ms: missing")
	}
	return op, nil
}

// content is what an order has to say again under its id, whenever it is sent. One about a phone that is rung tells how much time is
// left, which becomes less: what counts is whom it rings for whom.
func content(op api.Op) [sha256.Size]byte {
	switch {
	case op.Callback != nil:
		return sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", op.Kind, op.Token, op.EntryID, op.Callback.Number, op.Callback.ReservationID))
	case op.Dispatch != nil:
		return sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q", op.Kind, op.Token, op.EntryID, op.Why, op.Dispatch.ReservationID))
	}
	op.TimeMS = 0
	text, err := json.Marshal(op)
	if err != nil {
		panic(fmt.Sprintf("encode an order: %v", err)) // it was decoded, and can be encoded
	}
	return sha256.Sum256(text)
}

// once carries an order out, or waits for and returns what the same one came to. A status other than 200 says why not.
func (h *Handler) once(ctx context.Context, op api.Op) (reply api.OpReply, status int, why string) {
	body := content(op)
	h.mu.Lock()
	known := h.answers[op.ID]
	if known == nil {
		if why := h.aged(op.TimeMS); why != "" {
			h.mu.Unlock()
			return reply, http.StatusConflict, why
		}
		select {
		case h.slots <- struct{}{}:
		default:
			h.mu.Unlock()
			return reply, http.StatusServiceUnavailable, "too much to do"
		}
		a := &answer{body: body, atMS: op.TimeMS, done: make(chan struct{})}
		h.remember(op.ID, a)
		h.mu.Unlock()
		h.do(ctx, op, a)
		return a.reply, http.StatusOK, ""
	}
	h.mu.Unlock()
	if known.body != body {
		return reply, http.StatusConflict, "another order had this id"
	}
	select {
	case <-known.done:
		return known.reply, http.StatusOK, ""
	case <-ctx.Done():
		return reply, http.StatusServiceUnavailable, "not done yet"
	}
}

// aged says why an order that is not known is too old to be a new one, or its sender's clock is wrong; "" when neither is. With h.mu.
func (h *Handler) aged(sentMS int64) string {
	now := h.cfg.Now().UnixMilli()
	switch {
	case now-sentMS > window.Milliseconds() || sentMS-now > window.Milliseconds():
		return fmt.Sprintf("the order was sent %v ago by this node's clock; at most %v are allowed", time.Duration(now-sentMS)*time.Millisecond, window)
	case sentMS <= h.floorMS:
		return "the order was sent before what this node remembers"
	}
	return ""
}

// remember enters an answer and forgets the one sent first, beyond maxAnswers, when it is done: not the one that came first, whose sender's clock
// may be ahead of the others'.
func (h *Handler) remember(id string, a *answer) {
	h.answers[id] = a
	at := len(h.order)
	for at > 0 && h.answers[h.order[at-1]].atMS > a.atMS {
		at--
	}
	h.order = slices.Insert(h.order, at, id)
	for len(h.order) > maxAnswers {
		oldest := h.order[0]
		select {
		case <-h.answers[oldest].done:
		default:
			return // under way: at most maxAtOnce of them
		}
		h.floorMS = max(h.floorMS, h.answers[oldest].atMS)
		delete(h.answers, oldest)
		h.order = h.order[1:]
	}
}

// do carries an order out. It is not cut short when the brain hangs up: what was begun is finished and remembered.
func (h *Handler) do(ctx context.Context, op api.Op, a *answer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doTimeout)
	defer cancel()
	defer func() {
		a.reply.ID = op.ID
		close(a.done)
		<-h.slots
	}()
	carryOut := h.cfg.Kinds[op.Kind]
	if carryOut == nil {
		a.reply = api.OpReply{Error: "this node knows no order of kind " + op.Kind}
		return
	}
	a.reply.Error = "the order was given up"
	reply, err := carryOut(ctx, op)
	reply.OK = err == nil
	if err != nil {
		reply.Error = err.Error()
		h.log.Warn("an order of the brain was not carried out", "id", op.ID, "kind", op.Kind, "action", op.Action, "error", err)
	}
	a.reply = reply
}
