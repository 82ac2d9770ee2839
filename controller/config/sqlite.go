package config

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"

	"github.com/sipio/sipio/brain"
)

//go:embed migrations/*.sql
var migrations embed.FS

// pragmas hold for every connection. FULL: a change that was acknowledged survives a power cut.
const pragmas = "_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on&_busy_timeout=5000&_txlock=immediate"

// openDB opens the file, readable by its owner only, and brings its tables up to date.
func openDB(ctx context.Context, path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: pragmas}
	db, err := sql.Open("sqlite3", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // one writer; decisions read the snapshot, not the file
	if err := migrate(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > newest {
		return fmt.Errorf("the file has schema version %d, this program knows %d: it was written by a newer sipio", current, newest)
	}
	return nil
}

// load reads the whole configuration in one transaction.
func load(ctx context.Context, db *sql.DB) (*state, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // only reads
	d := newDraft(newState())
	for _, k := range brain.Kinds {
		if err := loadKind(ctx, tx, k, d); err != nil {
			return nil, fmt.Errorf("read %s: %w", k, err)
		}
	}
	if err := loadMembers(ctx, tx, d); err != nil {
		return nil, fmt.Errorf("read ring_group_member: %w", err)
	}
	versions, newest, err := loadVersions(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("read change_set: %w", err)
	}
	return d.build(newest, versions), nil
}

func loadKind(ctx context.Context, tx *sql.Tx, k brain.Kind, d *draft) error {
	cols := columns(k)
	rows, err := tx.QueryContext(ctx, "SELECT "+columnList(cols)+" FROM "+string(k))
	if err != nil {
		return err
	}
	defer rows.Close()
	dst := make([]any, len(cols))
	for rows.Next() {
		r := emptyResource(k)
		for i, f := range cols {
			dst[i] = cellOf(r, f)
		}
		if err := rows.Scan(dst...); err != nil {
			return err
		}
		d.put(r)
	}
	return rows.Err()
}

// loadMembers gives the ring groups just read their members.
func loadMembers(ctx context.Context, tx *sql.Tx, d *draft) error {
	rows, err := tx.QueryContext(ctx, `SELECT account_id, ring_group_id, user_id, "order" FROM ring_group_member ORDER BY ring_group_id, position`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var account, group string
		var m brain.RingGroupMember
		if err := rows.Scan(&account, &group, &m.UserID, &m.Order); err != nil {
			return err
		}
		g, ok := d.get(brain.KindRingGroup, account, group).(*brain.RingGroup)
		if !ok {
			return fmt.Errorf("member of an unknown ring group %s", group)
		}
		g.Members = append(g.Members, m)
	}
	return rows.Err()
}

// loadVersions returns the newest revision of each account, and of all.
func loadVersions(ctx context.Context, tx *sql.Tx) (map[string]int64, int64, error) {
	var newest int64
	if err := tx.QueryRowContext(ctx, "SELECT ifnull(max(version), 0) FROM change_set").Scan(&newest); err != nil {
		return nil, 0, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT account_id, max(version) FROM change_row GROUP BY account_id")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	versions := make(map[string]int64)
	for rows.Next() {
		var account string
		var version int64
		if err := rows.Scan(&account, &version); err != nil {
			return nil, 0, err
		}
		versions[account] = version
	}
	return versions, newest, rows.Err()
}

// writeRevision writes a change set, its rows and its entries of the audit log in one transaction. All old rows go before the new
// ones come, so that two resources may swap their names in one change set. With publish, it is called
// when nothing but the commit itself can fail any more; its error undoes everything.
func writeRevision(ctx context.Context, db *sql.DB, rev brain.Revision, ops []op, publish func() error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing to do after a commit
	w := &writer{ctx: ctx, tx: tx, prepared: make(map[string]*sql.Stmt)}
	w.exec("INSERT INTO change_set (version, time_ms, actor, summary) VALUES (?, ?, ?, ?)", rev.Version, rev.TimeMS, rev.Actor, rev.Summary)
	for i, o := range ops {
		w.history(rev.Version, i, o)
	}
	for _, m := range changeAudit(rev, ops, peerOf(ctx)) {
		w.audit(m)
	}
	for _, o := range ops {
		if o.before != nil {
			w.delete(o.before)
		}
	}
	for _, o := range ops {
		if o.after != nil {
			w.insert(o.after)
		}
	}
	if w.err != nil {
		return w.err
	}
	if publish != nil {
		if err := checkReferences(ctx, tx); err != nil {
			return err
		}
		if err := publish(); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// checkReferences finds now what the deferred foreign keys would refuse at the commit.
func checkReferences(ctx context.Context, tx *sql.Tx) error {
	var table, parent string
	var row, key sql.NullInt64
	err := tx.QueryRowContext(ctx, "PRAGMA foreign_key_check").Scan(&table, &row, &parent, &key)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("check references: %w", err)
	}
	return brain.Errorf(brain.EConflict, "the configuration was changed meanwhile: a %s refers to a %s that is not there", table, parent)
}

// writer keeps the first error and does nothing after it.
type writer struct {
	ctx      context.Context
	tx       *sql.Tx
	prepared map[string]*sql.Stmt
	err      error
}

func (w *writer) exec(query string, args ...any) {
	if w.err != nil {
		return
	}
	stmt := w.prepared[query]
	if stmt == nil {
		if stmt, w.err = w.tx.PrepareContext(w.ctx, query); w.err != nil {
			return
		}
		w.prepared[query] = stmt
	}
	_, w.err = stmt.ExecContext(w.ctx, args...)
}

func (w *writer) history(version int64, seq int, o op) {
	before, err1 := image(o.before)
	after, err2 := image(o.after)
	if err := errors.Join(err1, err2); err != nil && w.err == nil {
		w.err = fmt.Errorf("write history: %w", err)
	}
	r := o.resource()
	w.exec("INSERT INTO change_row (version, seq, op, kind, resource_id, account_id, before, after) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		version, seq, string(o.kind), string(r.ResourceKind()), r.ResourceID(), r.OwnerID(), before, after)
}

// image is the row as the history keeps it, nil for none.
func image(r brain.Resource) (any, error) {
	if r == nil {
		return nil, nil
	}
	text, err := json.Marshal(r)
	return string(text), err
}

func (w *writer) delete(r brain.Resource) {
	if r.ResourceKind() == brain.KindRingGroup {
		w.exec("DELETE FROM ring_group_member WHERE ring_group_id = ?", r.ResourceID())
	}
	w.exec("DELETE FROM "+string(r.ResourceKind())+" WHERE id = ?", r.ResourceID())
}

func (w *writer) insert(r brain.Resource) {
	cols := columns(r.ResourceKind())
	args := make([]any, len(cols))
	for i, f := range cols {
		value, err := cellOf(r, f).column()
		if err != nil && w.err == nil {
			w.err = fmt.Errorf("write %s.%s: %w", r.ResourceKind(), f.name, err)
		}
		args[i] = value
	}
	w.exec("INSERT INTO "+string(r.ResourceKind())+" ("+columnList(cols)+") VALUES (?"+strings.Repeat(", ?", len(cols)-1)+")", args...)
	if g, ok := r.(*brain.RingGroup); ok {
		for i, m := range g.Members {
			w.exec(`INSERT INTO ring_group_member (account_id, ring_group_id, position, user_id, "order") VALUES (?, ?, ?, ?, ?)`,
				g.AccountID, g.ID, i, m.UserID, m.Order)
		}
	}
}

func columnList(cols []field) string {
	names := make([]string, len(cols))
	for i, f := range cols {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// revisions returns the newest change sets, newest first.
func revisions(ctx context.Context, db *sql.DB, limit int) ([]brain.Revision, error) {
	rows, err := db.QueryContext(ctx, "SELECT version, time_ms, actor, summary FROM change_set ORDER BY version DESC LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []brain.Revision{}
	for rows.Next() {
		var r brain.Revision
		if err := rows.Scan(&r.Version, &r.TimeMS, &r.Actor, &r.Summary); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// rowsAfter returns each resource that changed after a revision as it was at that revision: nil when
// it did not exist. API keys and console users are left out: going back must not bring one to life that was taken away. So are messages of
// mailboxes: what people said is no configuration.
func rowsAfter(ctx context.Context, db *sql.DB, rev int64) ([]pastRow, error) {
	rows, err := db.QueryContext(ctx, `SELECT kind, resource_id, account_id, before FROM change_row
		WHERE version > ? AND kind NOT IN ('api_key', 'console_user', 'voicemail_message') ORDER BY version, seq`, rev)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []pastRow
	seen := make(map[string]bool)
	for rows.Next() {
		var p pastRow
		var before sql.NullString
		if err := rows.Scan(&p.kind, &p.id, &p.owner, &before); err != nil {
			return nil, err
		}
		if seen[p.id] {
			continue // the oldest change after the revision knows the state at the revision
		}
		seen[p.id] = true
		if before.Valid {
			p.row = brain.NewResource(p.kind) // fields that came since have their defaults
			if p.row == nil {
				return nil, fmt.Errorf("read the history of %s: no resource is called %q", p.id, p.kind)
			}
			if err := json.Unmarshal([]byte(before.String), p.row); err != nil {
				return nil, fmt.Errorf("read the history of %s: %w", p.id, err)
			}
			brain.ApplyDefaults(p.row)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// pastRow is a resource as it was at a revision.
type pastRow struct {
	kind      brain.Kind
	id, owner string
	row       brain.Resource // nil: it did not exist
}

// classify turns a fault of SQLite into an error with a code where the caller can do something about it.
func classify(err error) error {
	e, ok := errors.AsType[sqlite3.Error](err)
	switch {
	case !ok:
		return err
	case e.Code == sqlite3.ErrConstraint:
		return brain.Errorf(brain.EConflict, "the configuration was changed meanwhile, or a name is taken: %s", e.Error())
	case slices.Contains([]sqlite3.ErrNo{sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrFull}, e.Code):
		return brain.Errorf(brain.EUnavailable, "the configuration file cannot be written now: %s", e.Error())
	}
	return err
}
