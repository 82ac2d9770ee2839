// Package op takes what the brain wants done on this node now (POST /op): each order once, by its id.
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
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of the orders.
const (
	maxBody     = 64 << 10
	maxID       = 128
	maxAnswers  = 4096             // remembered, for orders that come again
	maxAtOnce   = 64               // carried out at the same time; more are told to come again
	doTimeout   = 10 * time.Second // one order
	retryAfter  = "1"              // seconds
	problemType = "text/plain; charset=utf-8"
)

// Func carries out one kind of order. Its error becomes the reply's, for operators to read.
type Func func(ctx context.Context, op api.Op) (api.OpReply, error)

// Config is what a Handler needs. Log may be left out.
type Config struct {
	Key   string          // bearer token of the brain; "" refuses everybody
	Kinds map[string]Func // by api.Op.Kind
	Log   *slog.Logger
}

// Handler is the http.Handler of api.PathOp.
type Handler struct {
	key   [sha256.Size]byte
	open  bool
	kinds map[string]Func
	log   *slog.Logger
	slots chan struct{}

	mu      sync.Mutex
	answers map[string]*answer
	order   []string // ids of answers, oldest first
}

// answer is what an order came to, or comes to: done is closed then.
type answer struct {
	body  [sha256.Size]byte // content of the order: another one under the same id is a mistake
	done  chan struct{}
	reply api.OpReply
}

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Handler{
		key: sha256.Sum256([]byte(cfg.Key)), open: cfg.Key != "", kinds: cfg.Kinds, log: cfg.Log,
		slots: make(chan struct{}, maxAtOnce), answers: map[string]*answer{},
	}
}

// ServeHTTP answers 200 with an api.OpReply to an order that was understood, whether it could be carried out or
// not; 401, 405, 400, 409 (an id used for another order), 413 and 503 (too much to do) otherwise.
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
	reply, status := h.once(r.Context(), order, content(order, body))
	if status != http.StatusOK {
		w.Header().Set("Retry-After", retryAfter)
		refuse(w, status, http.StatusText(status))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(reply); err != nil {
		h.log.Debug("the reply to an order was not delivered", "id", order.ID, "error", err)
	}
}

// knows compares the key in constant time, whatever its length.
func (h *Handler) knows(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], h.key[:]) == 1 && ok && h.open
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
	return op, nil
}

// content is what an order has to say again under its id. One about a phone that is rung tells how much time is left,
// which becomes less: what counts is whom it rings for whom.
func content(op api.Op, body []byte) [sha256.Size]byte {
	switch {
	case op.Callback != nil:
		body = fmt.Appendf(nil, "%q %q %q %q %q", op.Kind, op.Token, op.EntryID, op.Callback.Number, op.Callback.ReservationID)
	case op.Dispatch != nil:
		body = fmt.Appendf(nil, "%q %q %q %q %q", op.Kind, op.Token, op.EntryID, op.Why, op.Dispatch.ReservationID)
	}
	return sha256.Sum256(body)
}

// once carries an order out, or waits for and returns what the same one came to.
func (h *Handler) once(ctx context.Context, op api.Op, body [sha256.Size]byte) (api.OpReply, int) {
	h.mu.Lock()
	known := h.answers[op.ID]
	if known == nil {
		select {
		case h.slots <- struct{}{}:
		default:
			h.mu.Unlock()
			return api.OpReply{}, http.StatusServiceUnavailable
		}
		a := &answer{body: body, done: make(chan struct{})}
		h.remember(op.ID, a)
		h.mu.Unlock()
		h.do(ctx, op, a)
		return a.reply, http.StatusOK
	}
	h.mu.Unlock()
	if known.body != body {
		return api.OpReply{}, http.StatusConflict
	}
	select {
	case <-known.done:
		return known.reply, http.StatusOK
	case <-ctx.Done():
		return api.OpReply{}, http.StatusServiceUnavailable
	}
}

// remember enters an answer and forgets the oldest that is done, beyond maxAnswers.
func (h *Handler) remember(id string, a *answer) {
	h.answers[id] = a
	h.order = append(h.order, id)
	for len(h.order) > maxAnswers {
		oldest := h.order[0]
		select {
		case <-h.answers[oldest].done:
		default:
			return // under way: at most maxAtOnce of them
		}
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
	carryOut := h.kinds[op.Kind]
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
