package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// orphan is a channel of ours that no runner serves.
type orphan struct {
	since time.Time
	token string // of its call; "" while unknown
	acct  string
	whole bool // nothing failed while this was read
	alone bool // it does what the caller wants without an agent: a conversation, a conference

	callID, leg string // Call-ID of the caller's dialog, and of that of the one he talks to
	recording   string // FILE|KEY of the conversation's
	service     string // of an agent who talks to the caller
	consult     string // who is asked to take the caller
	other       string // channel that it was connected to last
}

// Of recordings that an agent left behind.
const (
	recoverEvery = time.Minute
	recoverAfter = 2 * time.Minute    // not written for so long
	maxRecovered = 100                // at once
	dropAfter    = 7 * 24 * time.Hour // what nobody asks for any more
)

// Keep tells the brain which calls live here, and looks for channels that nobody serves, until ctx ends.
// A channel without a runner that is in a conversation or a conference goes on, and is told as alive: it comes back
// to an agent when that ends. One that records what its caller says would go on too, for nobody: it is broken off, so
// that it comes back now. Any other is hung up after orphanAfter.
func (c *Calls) Keep(ctx context.Context) {
	defer c.partings.Wait()
	alive, sweep, recovery := time.NewTicker(aliveEvery), time.NewTicker(sweepEvery), time.NewTicker(recoverEvery)
	first := time.NewTimer(sweepFirst) // what an agent before this one left
	defer first.Stop()
	defer alive.Stop()
	defer sweep.Stop()
	defer recovery.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-alive.C:
			c.tellAlive(ctx)
		case <-first.C:
			c.sweepNow(ctx)
		case <-sweep.C:
			c.sweepNow(ctx)
		case <-recovery.C:
			c.recoverRecordings(ctx, time.Now())
		}
	}
}

// tellAlive names every call that lives here, and says so also when there is none.
func (c *Calls) tellAlive(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	err := c.cfg.Brain.Alive(ctx, api.FlowAlive{Node: c.cfg.Node, Calls: c.Alive()})
	if err != nil && ctx.Err() == nil {
		c.log.Warn("the brain could not be told of the calls that live here", "error", err)
	}
	c.mu.Lock()
	back := c.away && err == nil
	c.away = err != nil
	c.mu.Unlock()
	if back {
		c.askAll() // orders may have been given meanwhile
	}
}

// Alive returns every call of this node's media server, those included that go on without a runner.
func (c *Calls) Alive() []api.AliveCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]api.AliveCall, 0, len(c.live))
	for _, k := range c.live {
		list = append(list, api.AliveCall{AccountID: k.account, Token: k.token})
	}
	for _, o := range c.unserved() {
		if o.token != "" {
			list = append(list, api.AliveCall{AccountID: o.acct, Token: o.token})
		}
	}
	return list
}

// unserved are the calls that go on without a runner, and those of them whose end is being told. c.mu is held.
func (c *Calls) unserved() []orphan {
	return slices.AppendSeq(slices.Collect(maps.Values(c.orphans)), maps.Values(c.parting))
}

// channelRow is what is read of one channel in `show channels as json`.
type channelRow struct {
	UUID        string `json:"uuid"`
	State       string `json:"state"`
	Direction   string `json:"direction"`
	Context     string `json:"context"`
	Application string `json:"application"`
}

func (c *Calls) sweepNow(ctx context.Context) {
	if err := c.sweep(ctx, time.Now()); err != nil && ctx.Err() == nil {
		c.log.Debug("the channels could not be listed", "error", err)
	}
}

// sweep lists FreeSWITCH's channels and ends those that nobody serves for too long.
func (c *Calls) sweep(ctx context.Context, now time.Time) error {
	body, err := c.list(ctx)
	if err != nil {
		return err
	}
	var list struct {
		Rows []channelRow `json:"rows"`
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return fmt.Errorf("read the list of channels: %w", err)
	}
	seen := map[string]bool{}
	for _, row := range list.Rows {
		if row.ofOurs() {
			seen[row.UUID] = true
			c.lookLeg(ctx, row, now)
			continue
		}
		if !row.ofCaller() {
			continue
		}
		seen[row.UUID] = true
		c.look(ctx, row, now)
	}
	c.confirmAll(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	for uuid := range c.strays {
		if !seen[uuid] {
			delete(c.strays, uuid)
		}
	}
	for uuid, o := range c.orphans {
		if !seen[uuid] {
			delete(c.orphans, uuid)
			c.parting[uuid] = o
			c.partings.Go(func() {
				c.part(ctx, uuid, o)
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.parting, uuid)
			})
		}
	}
	return nil
}

// look judges one channel.
func (c *Calls) look(ctx context.Context, row channelRow, now time.Time) {
	c.mu.Lock()
	_, served := c.live[row.UUID]
	o, known := c.orphans[row.UUID]
	if served {
		delete(c.orphans, row.UUID)
	}
	c.mu.Unlock()
	if served {
		return
	}
	if !known || !o.whole || o.token == "" {
		since := now
		if known {
			since = o.since
		}
		o = c.discover(ctx, row.UUID, since)
	}
	o.alone = row.Application == "bridge" || row.Application == "conference" || row.talks()
	if o.alone {
		o.since = now
	}
	c.mu.Lock()
	if _, served = c.live[row.UUID]; !served {
		c.orphans[row.UUID] = o
	}
	c.mu.Unlock()
	if o.consult != "" && o.alone && !served {
		c.keepAsked(ctx, row.UUID, o)
	}
	if row.Application == "record" && !served {
		if _, err := c.order(ctx, "uuid_break "+row.UUID+" all"); err != nil {
			c.log.Warn("a recording for nobody could not be broken off", "channel", row.UUID, "error", err)
		}
	}
	if now.Sub(o.since) < orphanAfter {
		return
	}
	c.log.Warn("a channel that nobody serves is hung up", "channel", row.UUID, "call", o.token, "account", o.acct, "application", row.Application, "for", now.Sub(o.since))
	if _, err := c.order(ctx, "uuid_kill "+row.UUID+" NORMAL_TEMPORARY_FAILURE"); err != nil {
		c.log.Warn("it could not be hung up", "channel", row.UUID, "error", err)
	}
}

// discover reads what a channel tells of its call. What could not be read is read again at the next sweep.
func (c *Calls) discover(ctx context.Context, uuid string, since time.Time) orphan {
	o := orphan{since: since, whole: true}
	for _, v := range []struct {
		to   *string
		name string
	}{{&o.token, "sip_h_" + api.HeaderCall}, {&o.acct, "sip_h_" + api.HeaderAccount}, {&o.callID, "sip_call_id"},
		{&o.recording, recordingVariable}, {&o.service, serviceVariable}, {&o.consult, consultVariable}, {&o.other, lastBridgeTo}} {
		value, err := c.variable(ctx, uuid, v.name)
		*v.to, o.whole = value, o.whole && err == nil
	}
	if o.other != "" {
		o.leg, _ = c.variable(ctx, o.other, "sip_call_id") // the other may have gone
	}
	return o
}

// part does at the end of a call without a runner what the runner would have done: it stores the recording and tells
// the brain. The dialogs of a conversation are ended at the edge too: when FreeSWITCH has died and is back, nobody has
// sent them a BYE; otherwise there are none any more.
func (c *Calls) part(ctx context.Context, uuid string, o orphan) {
	if there, err := c.exists(ctx, uuid); err != nil || there || o.token == "" || o.acct == "" {
		return // the next sweep finds it again, if it is there
	}
	log := c.log.With("call", o.token, "account", o.acct, "channel", uuid)
	log.Info("a call that went on without an agent has ended")
	for _, callID := range []string{o.callID, o.leg} {
		if callID == "" || !o.alone {
			continue
		}
		if err := c.cfg.Edge.EndDialog(ctx, callID); err != nil {
			log.Warn("a dialog of an ended call could not be ended", "call_id", callID, "error", err)
		}
	}
	req := api.FlowRequest{AccountID: o.acct, Token: o.token, CallID: o.callID, Node: c.cfg.Node, Outcome: api.OutcomeHangup,
		Data: map[string]string{"cause": "NORMAL_CLEARING"}}
	if s, ok := parseService(o.acct, o.service); ok && s.leg == o.other {
		req.Data["talk_ms"] = strconv.FormatInt(max(0, time.Now().UnixMilli()-s.sinceMS), 10)
	}
	if file, key, ok := strings.Cut(o.recording, "|"); ok {
		length := recordingMS(file)
		ref, err := c.store(ctx, key, file)
		if err != nil {
			log.Error("a recording could not be stored; it stays where it is", "key", key, "file", file, "error", err)
		} else {
			req.Data["key"], req.Data["sha256"], req.Data["bytes"], req.Data["duration_ms"] = ref.Key, ref.SHA256, strconv.FormatInt(ref.Bytes, 10), length
		}
	}
	c.tell(ctx, req, log)
}

// variable reads a variable of a channel, "" when it has none. An error is a channel or a FreeSWITCH that is not there.
func (c *Calls) variable(ctx context.Context, uuid, name string) (string, error) {
	return readVariable(ctx, c.order, uuid, name)
}

// readVariable is variable over whatever connection order goes.
func readVariable(ctx context.Context, order giveOrder, uuid, name string) (string, error) {
	value, err := order(ctx, "uuid_getvar "+uuid+" "+name)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(value, "-ERR"):
		return "", fmt.Errorf("read %s: %s", name, value)
	case value == notGiven:
		return "", nil
	}
	return value, nil
}

// order gives FreeSWITCH an order over the inbound connection.
func (c *Calls) order(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	body, err := c.cfg.Switch.API(ctx, command)
	return strings.TrimSpace(body), err
}

// recoverRecordings stores recordings that were finished without an agent, or could not be stored then: those with a
// note of their key that no call here writes, and that have not grown for a while.
func (c *Calls) recoverRecordings(ctx context.Context, now time.Time) {
	notes, err := filepath.Glob(filepath.Join(c.cfg.Dir, "*"+keySuffix))
	if err != nil {
		c.log.Error("recordings left behind cannot be looked for", "error", err)
		return
	}
	writing := c.writing()
	c.dropOld(writing, now)
	done := 0
	for _, note := range notes {
		file := strings.TrimSuffix(note, keySuffix)
		if writing[file] || !quietSince(note, now.Add(-recoverAfter)) || !quietSince(file, now.Add(-recoverAfter)) {
			continue
		}
		if done++; done > maxRecovered || ctx.Err() != nil {
			return
		}
		key, err := os.ReadFile(note)
		if err == nil {
			_, err = c.store(ctx, string(key), file)
		}
		if err != nil && err != errEmpty {
			c.log.Warn("a recording left behind could not be stored", "file", file, "key", string(key), "error", err)
			continue
		}
		c.log.Info("a recording left behind was stored", "file", file, "key", string(key))
	}
}

// dropOld removes recordings without a note that an agent's death left behind a week ago.
func (c *Calls) dropOld(writing map[string]bool, now time.Time) {
	files, err := filepath.Glob(filepath.Join(c.cfg.Dir, "*.wav"))
	if err != nil {
		return // recoverRecordings has said so
	}
	for _, file := range files {
		_, noted := os.Stat(file + keySuffix)
		if os.IsNotExist(noted) && !writing[file] && quietSince(file, now.Add(-dropAfter)) {
			c.log.Warn("a recording that nobody asks for is removed", "file", file)
			c.discard(file)
		}
	}
}

// quietSince says that a file was not written since then; one that is not there was not.
func quietSince(file string, then time.Time) bool {
	info, err := os.Stat(file)
	if err != nil {
		return os.IsNotExist(err)
	}
	return info.Mode()&fs.ModeType == 0 && info.ModTime().Before(then)
}

// writing returns the files that calls here record into.
func (c *Calls) writing() map[string]bool {
	files := map[string]bool{}
	c.mu.Lock()
	calls := slices.Collect(maps.Values(c.live))
	for _, o := range c.unserved() {
		file, _, _ := strings.Cut(o.recording, "|")
		files[file] = true
	}
	c.mu.Unlock()
	for _, k := range calls {
		k.mu.Lock() // it may wait for FreeSWITCH, and so not with all calls locked
		files[k.rec.file], files[k.message] = true, true
		k.mu.Unlock()
	}
	c.rooms.mu.Lock()
	for _, in := range c.rooms.byName {
		files[in.file] = true
	}
	c.rooms.mu.Unlock()
	return files
}
