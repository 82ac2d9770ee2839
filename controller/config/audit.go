package config

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sipio/sipio/brain"
)

// AuditLog carries entries of the audit log to every brain of an installation, in one order. What it no longer has is in the
// brains' files.
type AuditLog interface {
	// Append adds a message at the end and returns when it is stored for good. On an error it may be stored or not; one that
	// is appended twice is the same entry.
	Append(ctx context.Context, data []byte) error
	// Last is the number of the newest message, 0 when there never was one.
	Last(ctx context.Context) (int64, error)
	// Read calls fn for the messages behind number after, in order, with their numbers; those that are no longer there are left out.
	// An error of fn ends it and is returned.
	Read(ctx context.Context, after int64, fn func(seq int64, data []byte) error) error
}

// The audit log keeps the newest entries of each account, and of the platform, so that none takes the place of another's: so many
// failed logins and bans of the guard, which anybody may cause, and so many of all others.
const (
	maxAudit        = 200_000 // of the platform
	maxAuditAccount = 20_000  // of each account
	maxAuditFailed  = 20_000
	auditBatch      = 500 // entries of one transaction
	auditPrune      = time.Hour
)

// auditMessage is an entry as the audit log carries it.
type auditMessage struct {
	ID string `json:"id"`
	brain.AuditEntry
}

type peerKey struct{}

// WithPeer says from where what is done with ctx was asked for: an address without its port. Changes of the configuration have it in
// their entries of the audit log.
func WithPeer(ctx context.Context, peer string) context.Context {
	return context.WithValue(ctx, peerKey{}, peer)
}

func peerOf(ctx context.Context) string {
	peer, _ := ctx.Value(peerKey{}).(string)
	return peer
}

// Audit writes an entry: without an audit log into this brain's file, else into the log, from where every brain takes it. TimeMS 0 is
// now, Peer "" is that of ctx. It returns when the entry is stored for good. EUnavailable: it may not be.
func (s *Store) Audit(ctx context.Context, e brain.AuditEntry) error {
	if e.TimeMS == 0 {
		e.TimeMS = s.now().UnixMilli()
	}
	if e.Peer == "" {
		e.Peer = peerOf(ctx)
	}
	if e.Action == "" {
		return brain.Errorf(brain.EInvalid, "an audit entry without an action")
	}
	m := auditMessage{ID: "aud_" + strings.ToLower(ulid.MustNew(uint64(e.TimeMS), ulid.DefaultEntropy()).String()), AuditEntry: e.Bounded()}
	if s.Audited == nil {
		return s.writeAudit(ctx, []auditMessage{m}, 0)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write an audit entry: %w", err)
	}
	if err := s.Audited.Append(ctx, data); err != nil {
		return fmt.Errorf("%w: %w", brain.Errorf(brain.EUnavailable, "the audit log did not confirm the entry"), err)
	}
	return nil
}

// LevelAudit takes over the entries that any brain has written.
func (s *Store) LevelAudit(ctx context.Context) error {
	if s.Audited == nil {
		return nil
	}
	s.auditing.Lock()
	defer s.auditing.Unlock()
	var at int64
	if err := s.db.QueryRowContext(ctx, "SELECT seq FROM audit_position").Scan(&at); err != nil {
		return fmt.Errorf("read the audit log's position: %w", err)
	}
	last, err := s.Audited.Last(ctx)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	if last == at {
		return nil
	}
	if last < at { // another log than that of before: whoever has an entry already keeps it
		slog.Warn("the audit log ends before what this brain has taken over of it; it is read from its beginning", "last", last, "had", at)
		at = 0
	}
	return s.takeAudit(ctx, at)
}

// takeAudit writes the messages behind a number into the file.
func (s *Store) takeAudit(ctx context.Context, after int64) error {
	var batch []auditMessage
	next, seen := after, after
	flush := func() error {
		if seen == next {
			return nil
		}
		err := s.writeAudit(ctx, batch, seen)
		batch, next = batch[:0], seen
		return err
	}
	err := s.Audited.Read(ctx, after, func(seq int64, data []byte) error {
		if after > 0 && seen == after && seq > after+1 {
			slog.Warn("entries of the audit log are gone that this brain has not taken over", "from", after+1, "to", seq-1)
		}
		seen = seq
		var m auditMessage
		if err := json.Unmarshal(data, &m); err != nil || !strings.HasPrefix(m.ID, "aud_") || m.Action == "" {
			slog.Error("a message of the audit log is no entry", "seq", seq, "err", err)
			return nil
		}
		if m.AuditEntry = m.Bounded(); len(batch) < auditBatch {
			batch = append(batch, m)
		}
		if len(batch) == auditBatch {
			return flush()
		}
		return nil
	})
	return errors.Join(err, flush())
}

// FollowAudit takes over entries every so often and drops the oldest, until ctx ends.
func (s *Store) FollowAudit(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var pruned time.Time
	for failed := false; ; {
		err := s.LevelAudit(ctx)
		if ctx.Err() == nil && time.Since(pruned) > auditPrune {
			pruned = time.Now()
			err = errors.Join(err, s.pruneAudit(ctx, maxAudit, maxAuditAccount, maxAuditFailed))
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failed {
			slog.Warn("entries of other brains do not come into the audit log now", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// writeAudit writes entries into the file; seq, when it is not 0, is the last of them in the audit log.
func (s *Store) writeAudit(ctx context.Context, list []auditMessage, seq int64) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write audit entries: %w", err)
	}
	defer tx.Rollback() // nothing to do after a commit
	w := &writer{ctx: ctx, tx: tx, prepared: make(map[string]*sql.Stmt)}
	for _, m := range list {
		w.audit(m)
	}
	if seq > 0 {
		w.exec("UPDATE audit_position SET seq = ?", seq)
	}
	if w.err == nil {
		w.err = tx.Commit()
	}
	if w.err != nil {
		return fmt.Errorf("write audit entries: %w", classify(w.err))
	}
	return nil
}

func (w *writer) audit(m auditMessage) {
	w.exec(`INSERT INTO audit (id, time_ms, actor, peer, action, object, account_id, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		m.ID, m.TimeMS, m.Actor, m.Peer, m.Action, m.Object, m.AccountID, m.Detail)
}

// auditClass tells failed logins (1) and bans that the guard makes by itself (2), which anybody may cause, from all others (0).
const auditClass = `(CASE action WHEN 'login.fail' THEN 1 WHEN 'ban.begin' THEN 2 WHEN 'ban.end' THEN 2 ELSE 0 END)`

// pruneAudit keeps the newest failed logins, the newest bans of the guard, and the newest of all others, of the platform and of each account.
func (s *Store) pruneAudit(ctx context.Context, keep, keepAccount, keepFailed int) error {
	const query = `DELETE FROM audit WHERE account_id = ?1 AND ` + auditClass + ` = ?2 AND id <
		ifnull((SELECT id FROM audit WHERE account_id = ?1 AND ` + auditClass + ` = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3), '')`
	owners, err := s.auditOwners(ctx, min(keep, keepAccount, keepFailed))
	for _, owner := range owners {
		most := keepAccount
		if owner == "" {
			most = keep
		}
		_, err1 := s.db.ExecContext(ctx, query, owner, 0, most-1)
		_, err2 := s.db.ExecContext(ctx, query, owner, 1, keepFailed-1)
		_, err3 := s.db.ExecContext(ctx, query, owner, 2, keepFailed-1)
		err = errors.Join(err, err1, err2, err3)
	}
	return err
}

// auditOwners lists the accounts, "" for the platform, with more entries than so many.
func (s *Store) auditOwners(ctx context.Context, than int) (owners []string, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT account_id FROM audit GROUP BY account_id HAVING count(*) > ? ORDER BY account_id", than)
	if err != nil {
		return nil, fmt.Errorf("count audit entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var owner string
		if err := rows.Scan(&owner); err != nil {
			return nil, fmt.Errorf("count audit entries: %w", err)
		}
		owners = append(owners, owner)
	}
	return owners, rows.Err()
}

// changeAudit makes the entries of a change set: one for each account that it touches, and one for what is the platform's. Every
// brain makes the same ones.
func changeAudit(rev brain.Revision, ops []op, peer string) []auditMessage {
	var owners []string
	rows := make(map[string][]op)
	for _, o := range ops {
		owner := o.resource().OwnerID()
		if rows[owner] == nil {
			owners = append(owners, owner)
		}
		rows[owner] = append(rows[owner], o)
	}
	list := make([]auditMessage, 0, len(owners))
	for _, owner := range owners {
		of := rows[owner]
		e := brain.AuditEntry{TimeMS: rev.TimeMS, Actor: rev.Actor, Peer: peer, Action: brain.AuditConfigChange, AccountID: owner,
			Object: fmt.Sprintf("%d resources", len(of)), Detail: fmt.Sprintf("revision %d: %s", rev.Version, changeDetail(of))}
		if len(of) == 1 {
			e.Object = fmt.Sprintf("%s %s", of[0].resource().ResourceKind(), brain.NameOf(of[0].resource()))
		}
		list = append(list, auditMessage{changeAuditID(rev, owner), e.Bounded()})
	}
	return list
}

// maxAuditRows bounds the resources that one entry names.
const maxAuditRows = 30

func changeDetail(ops []op) string {
	var parts []string
	for i, o := range ops {
		if i == maxAuditRows {
			parts = append(parts, fmt.Sprintf("and %d more", len(ops)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %s %s", o.kind, o.resource().ResourceKind(), brain.NameOf(o.resource())))
	}
	return strings.Join(parts, ", ")
}

// changeAuditID is made of the revision, so that it is the same in every brain's file.
func changeAuditID(rev brain.Revision, owner string) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(owner+"\x00"), uint64(rev.Version)))
	var id ulid.ULID
	_ = id.SetTime(uint64(max(0, rev.TimeMS))) // only fails after the year 10889
	_ = id.SetEntropy(sum[:10])                // has the right length
	return "aud_" + strings.ToLower(id.String())
}
