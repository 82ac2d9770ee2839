package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
	"github.com/sipio/sipio/controller/config"
)

func newRoute() *cobra.Command {
	cmd := &cobra.Command{Use: "route", Short: "Look at routing"}
	cmd.AddCommand(newRouteTry())
	return cmd
}

// try is one question to the routing decision, and the configuration to ask it of.
type try struct {
	from, to string
	files    []string
	db       string
	json     bool
}

func newRouteTry() *cobra.Command {
	var t try
	cmd := &cobra.Command{
		Use:   "try --from USER@DOMAIN --to NUMBER {-f FILE | --db FILE}",
		Short: "Tell where a call would go, without making it",
		Long: "Runs the routing decision that a brain runs, offline, on YAML files or on a brain's database, and prints the directive.\n" +
			"Whether a phone is registered is not known here: the edge finds out while it walks the steps.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := t.directory(cmd)
			if err != nil {
				return err
			}
			d, err := t.decide(dir)
			if err != nil {
				return err
			}
			if t.json {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			writeDirective(cmd.OutOrStdout(), t.from, t.to, d)
			return nil
		},
	}
	cmd.Flags().StringVar(&t.from, "from", "", "caller: a user, or the auth username of one device, with its domain")
	cmd.Flags().StringVar(&t.to, "to", "", "what is dialed, in the caller's domain unless it names one")
	addFileFlag(cmd, &t.files)
	cmd.Flags().StringVar(&t.db, "db", "", "database of a brain; it is only read")
	cmd.Flags().BoolVar(&t.json, "json", false, "print the directive as the edge gets it")
	return cmd
}

// directory is the configuration to decide on.
func (t *try) directory(cmd *cobra.Command) (brain.Directory, error) {
	switch {
	case (len(t.files) == 0) == (t.db == ""):
		return nil, errors.New("say which configuration to ask: either -f FILE or --db FILE")
	case t.db != "":
		return readDatabase(cmd.Context(), t.db)
	}
	doc, err := load(t.files, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	dir, mistakes := config.FromYAML(doc.text)
	if len(mistakes) > 0 {
		doc.list(cmd.ErrOrStderr(), mistakes)
		return nil, exitCode(exitFailed)
	}
	return dir, nil
}

// decide asks the production decision on behalf of an authenticated caller.
func (t *try) decide(dir brain.Directory) (api.Directive, error) {
	user, domain, ok := strings.Cut(t.from, "@")
	if !ok || user == "" || domain == "" {
		return api.Directive{}, fmt.Errorf("--from %q is not USER@DOMAIN", t.from)
	}
	if t.to == "" {
		return api.Directive{}, errors.New("say what is dialed with --to")
	}
	caller, err := callerOf(dir, user, domain)
	if err != nil {
		return api.Directive{}, err
	}
	dialed, dialedDomain, _ := strings.Cut(t.to, "@")
	dialedDomain = cmp.Or(dialedDomain, domain)
	return route.Decide(dir, caller, api.RouteRequest{
		Origin:   api.Origin{CallID: "sipio-route-try", CSeq: "1", Branch: "z9hG4bK-try", Method: "INVITE"},
		FromUser: user, FromDomain: domain, ToUser: dialed, ToDomain: dialedDomain,
		RURI: "sip:" + dialed + "@" + dialedDomain, RURIUser: dialed, RURIDomain: dialedDomain,
	}), nil
}

// callerOf finds the device named, or the first active device of the user named. What could not
// authenticate cannot call.
func callerOf(dir brain.Directory, name, domain string) (route.Caller, error) {
	acct := dir.ByDomain(domain)
	if acct == nil {
		return route.Caller{}, fmt.Errorf("no account has the domain %q", domain)
	}
	device := acct.DeviceByAuth[brain.AuthKey(name, domain)]
	if device == nil {
		u := acct.UserByName[name]
		if u == nil {
			return route.Caller{}, fmt.Errorf("account %s has no user and no device %q", acct.Account.Name, name)
		}
		i := slices.IndexFunc(acct.DevicesByUser[u.ID], isActive)
		if i < 0 {
			return route.Caller{}, fmt.Errorf("user %s has no active device, so it cannot call", name)
		}
		device = acct.DevicesByUser[u.ID][i]
	}
	user := acct.Users[device.UserID]
	if user == nil || user.Status != brain.StatusActive || !isActive(device) {
		return route.Caller{}, fmt.Errorf("%s is disabled, so it cannot call", name)
	}
	return route.Caller{Account: acct, User: user, Device: device}, nil
}

func isActive(d *brain.SIPDevice) bool { return d.Status == brain.StatusActive }
