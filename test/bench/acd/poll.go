package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/sipio/sipio/brain/api"
)

// pollEvery is the pause of the usual dispatchers between two looks (mod_callcenter: switch_yield(100000)).
const pollEvery = 100 * time.Millisecond

// The tables of such a dispatcher, on the same disk and with the same guarantee as the brain's configuration: what was
// committed survives a power cut.
const (
	pollPragmas = "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000&_txlock=immediate"
	pollTables  = `
		CREATE TABLE members (uuid TEXT PRIMARY KEY, token TEXT, state TEXT, score INTEGER, joined INTEGER);
		CREATE TABLE agents (name TEXT PRIMARY KEY, status TEXT, state TEXT, last_offered INTEGER);
		CREATE TABLE tiers (agent TEXT, state TEXT, level INTEGER, position INTEGER);`
)

// poller looks every 100 ms for callers who wait and agents who are free, and has the node agent ring them.
type poller struct {
	n    *node
	db   *sql.DB
	disk *os.File // beside the tables, and the brain's journal
	stop func()

	mu     sync.Mutex
	rings  int
	pushed map[string]time.Time // by agent: when the op left
	rung   map[string]api.Op    // by agent
}

func newPoller(ctx context.Context, dir string, n *node) (*poller, error) {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "poll.db")+pollPragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	disk, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		return nil, err
	}
	p := &poller{n: n, db: db, disk: disk, pushed: map[string]time.Time{}, rung: map[string]api.Op{}}
	if _, err := db.ExecContext(ctx, pollTables); err != nil {
		return nil, err
	}
	for i, c := range n.entries {
		if _, err := db.ExecContext(ctx, `INSERT INTO members VALUES (?, ?, 'Waiting', 0, ?)`, c.EntryID, c.Token, i); err != nil {
			return nil, err
		}
	}
	for i, a := range n.agents {
		if _, err := db.ExecContext(ctx, `INSERT INTO agents VALUES (?, 'Logged Out', 'Waiting', 0)`, a); err != nil {
			return nil, err
		}
		if _, err := db.ExecContext(ctx, `INSERT INTO tiers VALUES (?, 'Ready', 1, ?)`, a, i); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var over sync.WaitGroup
	over.Go(func() { p.run(ctx) })
	p.stop = func() {
		cancel()
		over.Wait()
		_ = db.Close()
		_ = disk.Close()
	}
	return p, nil
}

func (p *poller) run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = p.look(ctx) // what fails shows as an order that never comes
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
		}
	}
}

type member struct{ uuid, token string }

// look pairs those who wait with those who are free, the callers by their score.
func (p *poller) look(ctx context.Context) error {
	rows, err := p.db.QueryContext(ctx, `SELECT uuid, token FROM members WHERE state = 'Waiting' ORDER BY ? - joined + score DESC`, time.Now().Unix())
	if err != nil {
		return err
	}
	var list []member
	for rows.Next() {
		var m member
		if err := rows.Scan(&m.uuid, &m.token); err != nil {
			return err
		}
		list = append(list, m)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, m := range list {
		if err := p.serve(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// serve finds an agent for a caller, takes both out of the tables' lists and has the agent rung.
func (p *poller) serve(ctx context.Context, m member) error {
	var agent string
	err := p.db.QueryRowContext(ctx, `SELECT a.name FROM agents a JOIN tiers t ON t.agent = a.name
		WHERE a.status = 'Available' AND a.state = 'Waiting' AND t.state = 'Ready' ORDER BY t.level, t.position, a.last_offered LIMIT 1`).Scan(&agent)
	if err == sql.ErrNoRows {
		return nil
	}
	if err != nil {
		return err
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	took, err := tx.ExecContext(ctx, `UPDATE agents SET state = 'Receiving', last_offered = ? WHERE name = ? AND state = 'Waiting'`, time.Now().Unix(), agent)
	if err != nil {
		return err
	}
	if n, err := took.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE members SET state = 'Trying' WHERE uuid = ?`, m.uuid); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	p.mu.Lock()
	p.rings++
	op := api.Op{ID: "poll-" + strconv.Itoa(p.rings), Kind: api.OpDispatch, EntryID: m.uuid, Token: m.token,
		Dispatch: &api.Dispatch{ReservationID: "poll" + strconv.Itoa(p.rings), Fence: int64(p.rings), UserID: agent, RingMS: 20_000, LeaseMS: 25_000, Release: true}}
	p.rung[agent], p.pushed[agent] = op, time.Now()
	p.mu.Unlock()
	return p.n.push(ctx, op)
}

// sync measures what the disk takes for a record that must survive a power cut.
func (p *poller) sync() (time.Duration, error) {
	began := time.Now()
	if _, err := p.disk.Write(make([]byte, 200)); err != nil {
		return 0, err
	}
	err := p.disk.Sync()
	return time.Since(began), err
}

// free lets an agent become free in the table. It returns the time until the order to ring came by, and how much of it
// passed since the op was sent; the agent is then let go and gone again.
func (p *poller) free(ctx context.Context, agent string) (took, carried time.Duration, err error) {
	rings := p.n.relay.expect("ring", agent)
	began := time.Now()
	if _, err := p.db.ExecContext(ctx, `UPDATE agents SET status = 'Available', state = 'Waiting' WHERE name = ?`, agent); err != nil {
		return 0, 0, err
	}
	when, err := await(ctx, rings, "ring "+agent)
	if err != nil {
		return 0, 0, err
	}
	p.mu.Lock()
	op, sent := p.rung[agent], p.pushed[agent]
	p.mu.Unlock()
	gone := p.n.relay.expect("kill", agent)
	if _, err := p.db.ExecContext(ctx, `UPDATE agents SET status = 'Logged Out', state = 'Waiting' WHERE name = ?`, agent); err != nil {
		return 0, 0, err
	}
	if _, err := p.db.ExecContext(ctx, `UPDATE members SET state = 'Waiting' WHERE uuid = ?`, op.EntryID); err != nil {
		return 0, 0, err
	}
	op.ID, op.Kind, op.Why = op.ID+"-r", api.OpRescind, "agent_gone"
	if err := p.n.push(ctx, op); err != nil {
		return 0, 0, fmt.Errorf("let %s go: %w", agent, err)
	}
	_, err = await(ctx, gone, "let "+agent+" go")
	return when.Sub(began), when.Sub(sent), err
}
