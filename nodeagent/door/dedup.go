package door

import (
	"bytes"
	"hash/maphash"
	"sync"
	"time"
)

// Bounds of the memory of answers. A repeated POST follows its first within milliseconds.
const (
	rememberFor = 2 * time.Second
	rememberMax = 4096
)

// memory makes a repeated question share one answer: while the first is under way the second waits
// for it, and a finished answer is given again for rememberFor. The key covers the path and every
// byte of the body, not only (call_id, cseq, branch): those three come from the network, and an
// answer must never be given to a request that carries another's, with other credentials.
type memory struct {
	seed maphash.Seed

	mu      sync.Mutex
	entries map[uint64]*remembered
	order   [rememberMax]*remembered // ring of finished answers, oldest at head
	head    int
	count   int
}

// remembered is one question: under way while done is false.
type remembered struct {
	key     uint64
	done    bool
	doneAt  time.Time
	answer  reply
	waiting chan struct{} // made by the first who waits, closed with the answer
}

func newMemory() *memory {
	return &memory{seed: maphash.MakeSeed(), entries: map[uint64]*remembered{}}
}

// key returns the key of a question, false when it does not carry the three fields that name a SIP
// request (a question made by hand, or in another format): it is then asked every time.
func (m *memory) key(path string, body []byte) (uint64, bool) {
	if !hasField(body, "call_id") || !hasField(body, "cseq") || !hasField(body, "branch") {
		return 0, false
	}
	var h maphash.Hash
	h.SetSeed(m.seed)
	_, _ = h.WriteString(path)
	_ = h.WriteByte(0)
	_, _ = h.Write(body)
	return h.Sum64(), true
}

// hasField reports whether a form body holds name with a value that is not empty.
func hasField(form []byte, name string) bool {
	for len(form) > 0 {
		i := bytes.Index(form, []byte(name))
		if i < 0 {
			return false
		}
		rest := form[i+len(name):]
		if (i == 0 || form[i-1] == '&') && len(rest) > 1 && rest[0] == '=' && rest[1] != '&' {
			return true
		}
		form = rest
	}
	return false
}

// begin returns the entry of a key and whether the caller is the first, who must call finish.
func (m *memory) begin(key uint64, now time.Time) (e *remembered, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(now)
	if e = m.entries[key]; e != nil {
		if !e.done && e.waiting == nil {
			e.waiting = make(chan struct{})
		}
		return e, false
	}
	e = &remembered{key: key}
	m.entries[key] = e
	return e, true
}

// finish stores the answer for those who wait and, when keep, for those who ask again soon. A
// fallback is not kept: the next attempt deserves a new question.
func (m *memory) finish(e *remembered, answer reply, keep bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.answer, e.done, e.doneAt = answer, true, now
	if e.waiting != nil {
		close(e.waiting)
	}
	if !keep {
		delete(m.entries, e.key)
		return
	}
	if m.count == rememberMax {
		m.drop()
	}
	m.order[(m.head+m.count)%rememberMax] = e
	m.count++
}

// wait returns the answer of an entry that another is asking for, or has.
func (m *memory) wait(e *remembered) reply {
	m.mu.Lock()
	done, waiting := e.done, e.waiting
	m.mu.Unlock()
	if !done {
		<-waiting // the first always finishes, by its deadline at the latest
	}
	return e.answer
}

// forget drops answers older than rememberFor.
func (m *memory) forget(now time.Time) {
	for m.count > 0 && now.Sub(m.order[m.head].doneAt) > rememberFor {
		m.drop()
	}
}

func (m *memory) drop() {
	delete(m.entries, m.order[m.head].key)
	m.order[m.head] = nil
	m.head = (m.head + 1) % rememberMax
	m.count--
}
