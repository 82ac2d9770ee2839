package door

import (
	"log/slog"
	"sync"
	"time"
)

// logEvery is the least time between two lines about the same fault.
const logEvery = 5 * time.Second

// logLimit lets one line through per logEvery and counts what it held back.
type logLimit struct {
	mu   sync.Mutex
	last time.Time
	held int
}

func (l *logLimit) warn(log *slog.Logger, text string, args ...any) {
	l.mu.Lock()
	now := time.Now()
	if !l.last.IsZero() && now.Sub(l.last) < logEvery {
		l.held++
		l.mu.Unlock()
		return
	}
	held := l.held
	l.last, l.held = now, 0
	l.mu.Unlock()
	if held > 0 {
		args = append(args, "held_back", held)
	}
	log.Warn(text, args...)
}
