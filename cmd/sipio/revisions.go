package main

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newRevisions(s *server) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "revisions",
		Short: "List the revisions of the configuration, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			found, err := c.Revisions(cmd.Context(), limit)
			if err != nil {
				return err
			}
			t := newTable("VERSION", "TIME", "ACTOR", "SUMMARY")
			for _, r := range found {
				t.row(strconv.FormatInt(r.Version, 10), utc(r.TimeMS), r.Actor, r.Summary)
			}
			return t.write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, 1 to 500")
	return cmd
}

// utc writes epoch milliseconds for people.
func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05Z") }
