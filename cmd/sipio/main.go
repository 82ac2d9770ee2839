// Command sipio is the operator's tool: it applies and shows the configuration, lists live calls, and
// runs the production routing decision offline.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

// Exit codes beside 0.
const (
	exitFailed  = 1 // mistakes in the input, a refusal, or the brain is away
	exitDiffers = 2 // sipio diff: the brain's configuration is not what the files say
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitCode ends a command whose words have all been written.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run is the whole program: what to do, where to write, and the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(amounts(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if err != nil {
		fmt.Fprintf(stderr, "sipio: %v\n", inWords(cmd, err))
		if hint := hintFor(err); hint != "" {
			fmt.Fprintln(stderr, hint)
		}
		return exitFailed
	}
	return 0
}

// hintFor says what to do about an error, "" when its text does.
func hintFor(err error) string {
	if errors.Is(err, context.Canceled) {
		return ""
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return "Is sipio-brain running there? Name its address with --server or SIPIO_SERVER."
	}
	switch brain.CodeOf(err) {
	case brain.EUnauthorized:
		return "Name the file of an API key with --key-file or SIPIO_KEY_FILE; the first key is in the brain's data directory."
	case brain.EForbidden:
		if strings.Contains(err.Error(), "lacks the scope") { // other refusals are not about the key
			return "Use a key that has it: sipio key list shows the scopes of each."
		}
	}
	return ""
}

// newRoot builds the tree of commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sipio",
		Short: "Configure sipio and look into it",
		Long: "sipio applies and shows the configuration of a brain, looks into live calls, admission and the journal, and tells offline where a call would go.\n" +
			"Exit status: 0 done, 1 mistakes or failure; sipio diff has 2 for a difference.",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	s := addServerFlags(root)
	root.AddCommand(
		newApply(s), newDiff(s), newExport(s), newRevisions(s), newRollback(s),
		newGet(s), newDelete(s), newKey(s), newAudit(s), newCall(s), newCAC(s), newPresence(s), newConference(s), newQueue(s), newAgent(s), newRecording(s), newTrunk(s), newSecret(s), newBalance(s), newRate(s), newBan(s), newAllow(s), newJournal(s), newCluster(s),
		newRoute(), newFlow(s), newStir(), newTunnel(), newCA(), newDoctor(s), newVersion(), newDocs(),
	)
	root.SetFlagErrorFunc(wrongFlag)
	showUse(root)
	return root
}
