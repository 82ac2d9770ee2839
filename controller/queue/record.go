package queue

import (
	"context"
	"log/slog"

	"github.com/sipio/sipio/brain/acd"
)

// maxRecords bounds the queue records that wait to be written.
const maxRecords = 1 << 14

// record is what one caller went through in a queue of an account.
type record struct {
	account string
	acd.Record
}

// writeRecords writes records to the log until ctx ends, and then those that are there.
func (q *Queues) writeRecords(ctx context.Context) {
	for {
		select {
		case r := <-q.records:
			q.writeRecord(&r)
			continue
		case <-ctx.Done():
		}
		select {
		case r := <-q.records:
			q.writeRecord(&r)
		default:
			return
		}
	}
}

func (q *Queues) writeRecord(r *record) {
	q.recorded.Add(1)
	q.log.LogAttrs(context.Background(), slog.LevelInfo, "queue record", slog.String("account", r.account), slog.String("queue", r.QueueID),
		slog.String("entry", r.EntryID), slog.String("token", r.Token), slog.String("call_id", r.CallID),
		slog.String("caller_number", r.CallerNumber), slog.String("caller_name", r.CallerName), slog.String("label", r.Label),
		slog.String("outcome", r.Outcome), slog.Bool("short", r.Short), slog.Int("priority", r.Priority), slog.Int("misses", r.Misses),
		slog.Int64("enqueued_ms", r.EnqueuedMS), slog.Int64("connected_ms", r.ConnectedMS), slog.Int64("end_ms", r.EndMS),
		slog.String("user", r.UserID), slog.Int64("wrap_up_ms", r.WrapUpMS), slog.Bool("callback", r.Callback))
}
