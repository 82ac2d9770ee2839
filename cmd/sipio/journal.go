package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/session"
	"github.com/sipio/sipio/controller/client"
)

func newJournal(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "journal", Short: "Look into the journal of live state"}
	cmd.AddCommand(newJournalStat(s), newJournalDump(s), newJournalReplay())
	return cmd
}

func newJournalStat(s *server) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Say what each shard's journal holds, and whether anything of it is damaged",
		Args:  cobra.NoArgs,
	}
	return shows(s, cmd, "say it as JSON", func(ctx context.Context, c *client.Client, _ []string) (api.JournalState, error) {
		return c.Journal(ctx)
	}, func(cmd *cobra.Command, state api.JournalState) error {
		t := newTable("SHARD", "FIRST", "LAST", "MESSAGES", "BYTES", "EPOCH", "SNAPSHOT", "DAMAGE")
		for _, j := range state.Shards {
			t.row(strconv.Itoa(j.Shard), seq(j.First), seq(j.Last), strconv.Itoa(j.Messages), strconv.FormatInt(j.Bytes, 10), seq(j.Epoch), seq(j.Snapshot), j.Damage)
		}
		return t.write(cmd.OutOrStdout())
	})
}

func seq(n uint64) string { return strconv.FormatUint(n, 10) }

func newJournalDump(s *server) *cobra.Command {
	var shard int
	var account string
	cmd := &cobra.Command{
		Use:   "dump {--shard N | --account NAME}",
		Short: "Write every record of a shard's journal, one JSON document a line",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if (shard < 0) == (account == "") {
				return errors.New("give either --shard or --account")
			}
			if account != "" {
				id, err := accountID(cmd.Context(), c, account)
				if err != nil {
					return err
				}
				shard = brain.ShardOf(id)
			}
			return c.DumpJournal(cmd.Context(), shard, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&shard, "shard", -1, "the shard, 0 to "+strconv.Itoa(brain.Shards-1))
	cmd.Flags().StringVar(&account, "account", "", "the shard of this account, by name or id")
	return cmd
}

func newJournalReplay() *cobra.Command {
	var until uint64
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Run a dump through the machines offline and show what they hold at its end",
		Long: "Runs the production machines over a dump (sipio journal dump > FILE; - reads standard input) and prints the state of each\n" +
			"live object as JSON: an account, each call that the platform answers, an account's wrong PINs. With --until the replay stops\n" +
			"after that sequence: the state as it was at that moment. Calls that were over and forgotten by then are left out.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			machines, err := replay(in, until)
			if err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), machines)
		},
	}
	cmd.Flags().Uint64Var(&until, "until", 0, "last sequence to replay; 0 = all")
	return cmd
}

// replayed is what one live object holds at the end of a replay.
type replayed struct {
	ID       string          `json:"id"`
	Records  int             `json:"records"`
	LastMS   int64           `json:"last_ms"`       // time of the last operation, epoch milliseconds
	CAC      json.RawMessage `json:"cac,omitempty"` // of an account
	Presence json.RawMessage `json:"presence,omitempty"`
	Session  json.RawMessage `json:"session,omitempty"` // of a call
	Locks    json.RawMessage `json:"locks,omitempty"`   // of an account's wrong PINs

	trade   trade
	machine machine
}

// machine is any live object.
type machine interface {
	Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error)
	Query(nowMS int64, question []byte) ([]byte, error)
	Empty() bool
}

// trade is how a kind of live object is made and read.
type trade struct {
	fresh   func(id string) machine
	restore func(id string, snapshot []byte) (machine, error)
	op      func(text []byte) ([]byte, error) // from JSON
	passing bool                              // one that holds nothing is not shown
	show    func(o *replayed) error
}

// tradeOf is the kind that the id of a live object says.
func tradeOf(id string) trade {
	if _, ok := brain.IsCallObject(id); ok {
		return trade{
			fresh:   func(id string) machine { return session.New(id) },
			restore: func(id string, snapshot []byte) (machine, error) { return session.Restore(id, snapshot) },
			op:      session.OpFromJSON, passing: true,
			show: func(o *replayed) error { return o.query("", &o.Session) },
		}
	}
	if brain.IsLocksObject(id) {
		return trade{
			fresh:   func(string) machine { return session.NewLocks() },
			restore: func(_ string, snapshot []byte) (machine, error) { return session.RestoreLocks(snapshot) },
			op:      session.WrongOpFromJSON, passing: true,
			show: func(o *replayed) error { return o.query("", &o.Locks) },
		}
	}
	return trade{
		fresh:   func(id string) machine { return presence.New(id) },
		restore: func(id string, snapshot []byte) (machine, error) { return presence.Restore(id, snapshot) },
		op:      presence.OpFromJSON,
		show: func(o *replayed) error {
			return errors.Join(o.query(`{"what":"cac"}`, &o.CAC), o.query(`{"what":"presence"}`, &o.Presence))
		},
	}
}

// query asks the machine and keeps the answer.
func (o *replayed) query(question string, into *json.RawMessage) error {
	answer, err := o.machine.Query(o.LastMS, []byte(question))
	if err != nil {
		return fmt.Errorf("%s: %w", o.ID, err)
	}
	*into = answer
	return nil
}

// replay runs the records of a dump in their order.
func replay(in io.Reader, until uint64) ([]*replayed, error) {
	objects := map[string]*replayed{}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), 256<<20)
	for n := 1; lines.Scan(); n++ {
		var r api.JournalRecord
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if until > 0 && r.Seq > until {
			break
		}
		if err := step(objects, &r); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the dump: %w", err)
	}
	list := make([]*replayed, 0, len(objects))
	for _, o := range objects {
		if o.trade.passing && o.machine.Empty() {
			continue
		}
		if err := o.trade.show(o); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b *replayed) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

func step(objects map[string]*replayed, r *api.JournalRecord) error {
	switch {
	case r.Damage != "":
		return fmt.Errorf("message %d of shard %d is damaged: %s", r.Seq, r.Shard, r.Damage)
	case r.ID == "":
		return errors.New("no record of a journal: it names no live object")
	}
	o := objects[r.ID]
	if o == nil {
		kind := tradeOf(r.ID)
		o = &replayed{ID: r.ID, trade: kind, machine: kind.fresh(r.ID)}
		objects[r.ID] = o
	}
	if len(r.Snapshot) > 0 {
		m, err := o.trade.restore(r.ID, r.Snapshot)
		if err != nil {
			return err
		}
		o.machine = m
		return nil
	}
	op, err := o.trade.op(r.Op)
	if err != nil {
		return err
	}
	if _, _, err := o.machine.Apply(r.TimeMS, op); err != nil {
		return fmt.Errorf("%s: %w", r.ID, err)
	}
	o.Records++
	o.LastMS = r.TimeMS
	return nil
}
