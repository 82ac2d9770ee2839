package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/balance"
)

func newRate(s *server) *cobra.Command {
	cmd := &cobra.Command{Use: "rate", Short: "Bring price lists in, and look a number's price up"}
	cmd.AddCommand(newRateImport(s), newRateShow(s))
	return cmd
}

func newRateImport(s *server) *cobra.Command {
	var account, plan, from string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "import -f FILE --plan NAME",
		Short: "Make a file of rates the price list of a rate plan",
		Long: "Makes a CSV file of rates the whole price list of a rate plan, and prints what changes: + added, ~ changed, - ended. What the file does not\n" +
			"name ends; calls that are up keep the rate they began with. The first line names the columns: prefix, connect, per_minute (decimal amounts, or\n" +
			"connect_micros and per_minute_micros), interval_first_sec, interval_next_sec, effective_from (a date, a time of RFC 3339, or epoch seconds).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			csv, err := readRates(from)
			if err != nil {
				return err
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			done, err := c.ImportRates(cmd.Context(), id, plan, csv, dryRun)
			if err != nil {
				return mistakesOf(cmd.ErrOrStderr(), from, err)
			}
			out := cmd.OutOrStdout()
			for _, line := range done.Changes {
				fmt.Fprintln(out, line)
			}
			if more := done.Added + done.Changed + done.Ended - len(done.Changes); more > 0 {
				fmt.Fprintf(out, "and %d more\n", more)
			}
			verb := ""
			if dryRun {
				verb = " would be"
			}
			_, err = fmt.Fprintf(out, "%d rates%s in plan %s: %d added, %d changed, %d ended, %d unchanged\n", done.Rates, verb, plan, done.Added, done.Changed, done.Ended, done.Unchanged)
			return err
		},
	}
	addPlanFlags(cmd, &account, &plan)
	cmd.Flags().StringVarP(&from, "file", "f", "", "file of rates")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	for _, name := range []string{"file", "plan"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there only
	}
	return cmd
}

// readRates reads a file of rates; one that is too large is not read to its end.
func readRates(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the rates: %w", err)
	}
	defer f.Close()
	csv, err := io.ReadAll(io.LimitReader(f, balance.MaxCSV+1))
	if err != nil {
		return nil, fmt.Errorf("read the rates: %w", err)
	}
	if len(csv) > balance.MaxCSV {
		return nil, fmt.Errorf("%s has more than %d bytes", path, balance.MaxCSV)
	}
	return csv, nil
}

func newRateShow(s *server) *cobra.Command {
	var account, plan string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NUMBER --plan NAME",
		Short: "Show what a call to a number costs now by a rate plan",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			r, err := c.Rate(cmd.Context(), id, plan, strings.TrimPrefix(args[0], "+"))
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), r)
			}
			if r.Problem != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "the rates of plan %s cannot be read, calls pay by those before: %s\n", r.Plan, r.Problem)
			}
			t := newTable("NUMBER", "PREFIX", "PER MINUTE", "TO CONNECT", "CURRENCY", "INTERVALS", "SINCE")
			t.row(r.Number, r.Prefix, balance.FormatMicros(r.PerMinuteMicros), balance.FormatMicros(r.ConnectMicros), r.Currency,
				fmt.Sprintf("%d/%d s", r.FirstSec, r.NextSec), time.Unix(r.EffectiveFrom, 0).UTC().Format(time.DateOnly))
			return t.write(cmd.OutOrStdout())
		},
	}
	addPlanFlags(cmd, &account, &plan)
	cmd.Flags().BoolVar(&asJSON, "json", false, "show it as JSON, in micro-units")
	_ = cmd.MarkFlagRequired("plan") // fails for a flag that is not there only
	return cmd
}

// mistakesOf writes every line of a file that is wrong.
func mistakesOf(w io.Writer, path string, err error) error {
	e, ok := errors.AsType[*brain.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	for _, m := range e.Fields {
		fmt.Fprintf(w, "%s:%d: %s: %s\n", path, m.Line, m.Path, m.Text)
	}
	return fmt.Errorf("%s", e.Text)
}

func addPlanFlags(cmd *cobra.Command, account, plan *string) {
	cmd.Flags().StringVar(account, "account", "", "the reseller whose plan it is, by name or id; absent: the platform's, or the key's own")
	cmd.Flags().StringVar(plan, "plan", "", "name of the rate plan")
}
