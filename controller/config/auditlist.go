package config

import (
	"context"
	"fmt"
	"strings"

	"github.com/sipio/sipio/brain"
)

// AuditPage returns up to limit (1 to MaxList) entries of the audit log, newest first: those that fit the query and are older than the
// entry with the id after, when that is set.
func (s *Store) AuditPage(ctx context.Context, q brain.AuditQuery, after string, limit int) ([]brain.AuditRow, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	leveling, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	if err := s.LevelAudit(leveling); err != nil {
		return nil, fmt.Errorf("%w: %w", brain.Errorf(brain.EUnavailable, "the audit log cannot be read now"), err)
	}
	from, args := auditFrom(q, after)
	where, more := auditWhere(q)
	args = append(args, more...)
	rows, err := s.db.QueryContext(ctx, "SELECT id, time_ms, actor, peer, action, object, account_id, detail FROM "+from+" WHERE "+
		strings.Join(where, " AND ")+" ORDER BY id DESC LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	defer rows.Close()
	list := []brain.AuditRow{}
	for rows.Next() {
		var r brain.AuditRow
		if err := rows.Scan(&r.ID, &r.TimeMS, &r.Actor, &r.Peer, &r.Action, &r.Object, &r.AccountID, &r.Detail); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return list, nil
}

// maxAuditLooked is how many entries of an account one page looks at, whether they fit its query or not.
const maxAuditLooked = 20_000

// auditFrom is what a page looks at: of an account, the newest entries that are older than after; with the platform's rights, all of
// them.
func auditFrom(q brain.AuditQuery, after string) (from string, args []any) {
	older := "1"
	if after != "" {
		older, args = "id < ?", append(args, after)
	}
	if q.AccountID == "" {
		return "(SELECT * FROM audit WHERE " + older + ")", args
	}
	return "(SELECT * FROM audit WHERE " + older + " AND account_id = ? ORDER BY id DESC LIMIT ?)", append(args, q.AccountID, maxAuditLooked)
}

func auditWhere(q brain.AuditQuery) (where []string, args []any) {
	where = []string{"1"}
	add := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if q.Actor != "" {
		add("actor = ?", q.Actor)
	}
	if q.Action != "" { // ban is every action that begins with it and a dot
		add("(action = ? OR substr(action, 1, ?) = ?)", q.Action, len(q.Action)+1, q.Action+".")
	}
	if q.Object != "" {
		add("instr(object, ?) > 0", q.Object)
	}
	if q.SinceMS > 0 {
		add("time_ms >= ?", q.SinceMS)
	}
	return where, args
}
