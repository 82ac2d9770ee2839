package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	trunk    string
	at       string
	files    []string
	db       string
	json     bool
}

func newRouteTry() *cobra.Command {
	var t try
	cmd := &cobra.Command{
		Use:   "try {--from USER@DOMAIN | --from-trunk NAME} --to NUMBER [--at TIME] {-f FILE | --db FILE}",
		Short: "Tell where a call would go, without making it",
		Long: "Runs the routing decision that a brain runs, offline, on YAML files or on a brain's database, and prints the directive.\n" +
			"Whether a phone is registered is not known here: the edge finds out while it walks the steps. Nor are calls counted.\n" +
			"Of a call to outside it shows every trunk in the order in which they are tried, as if each answered 503.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := t.directory(cmd)
			if err != nil {
				return err
			}
			caller, req, err := t.question(dir)
			if err != nil {
				return err
			}
			d := route.Decide(dir, caller, req)
			if t.json {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			writeDirective(cmd.OutOrStdout(), caller.Account, t.who(), t.to, d)
			writeWalks(cmd.OutOrStdout(), dir, caller, req, d)
			return nil
		},
	}
	cmd.Flags().StringVar(&t.from, "from", "", "caller: a user, or the auth username of one device, with its domain; with --from-trunk a number, none when it is withheld")
	cmd.Flags().StringVar(&t.trunk, "from-trunk", "", "the call comes from outside, over this trunk; ACCOUNT/NAME when accounts share the name")
	cmd.Flags().StringVar(&t.to, "to", "", "what is dialed, in the caller's domain unless it names one; with --from-trunk a number of the account")
	cmd.Flags().StringVar(&t.at, "at", "", "when: RFC 3339, or 2006-01-02T15:04 by the clock of the account; now when absent")
	addFileFlag(cmd, &t.files)
	cmd.Flags().StringVar(&t.db, "db", "", "database of a brain; it is only read")
	cmd.Flags().BoolVar(&t.json, "json", false, "print the directive as the edge gets it")
	return cmd
}

// who is the caller as a person reads it.
func (t *try) who() string {
	if t.trunk == "" {
		return t.from
	}
	return cmp.Or(t.from, withheld) + " over trunk " + t.trunk
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

// question is what the edge would ask the production decision on behalf of a caller that it knows.
func (t *try) question(dir brain.Directory) (route.Caller, api.RouteRequest, error) {
	req := api.RouteRequest{Origin: api.Origin{CallID: "sipio-route-try", CSeq: "1", Branch: "z9hG4bK-try", Method: "INVITE"}}
	if t.to == "" {
		return route.Caller{}, req, errors.New("say what is dialed with --to")
	}
	ask := t.phone
	if t.trunk != "" {
		ask = t.outside
	}
	caller, err := ask(dir, &req)
	if err != nil {
		return caller, req, err
	}
	when, err := moment(t.at, caller.Account.Zone(""))
	if err != nil {
		return caller, req, err
	}
	caller.NowMS = when.UnixMilli()
	dialed, domain, _ := strings.Cut(t.to, "@")
	domain = cmp.Or(domain, req.FromDomain)
	req.ToUser, req.ToDomain, req.RURIUser, req.RURIDomain = dialed, domain, dialed, domain
	req.RURI = "sip:" + dialed + "@" + domain
	return caller, req, nil
}

// moment reads a time, in the zone when it names none; "" is now.
func moment(s string, zone *time.Location) (time.Time, error) {
	if s == "" {
		return time.Now(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if when, err := time.ParseInLocation(layout, s, zone); err == nil {
			return when, nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %q is no time: write 2006-01-02T15:04, or 2006-01-02T15:04:05Z with a zone", s)
}

// phone is the caller named with --from.
func (t *try) phone(dir brain.Directory, req *api.RouteRequest) (route.Caller, error) {
	user, domain, ok := strings.Cut(t.from, "@")
	if !ok || user == "" || domain == "" {
		return route.Caller{}, fmt.Errorf("--from %q is not USER@DOMAIN", t.from)
	}
	req.FromUser, req.FromDomain = user, domain
	return callerOf(dir, user, domain)
}

// withheld is who calls without a number (RFC 3323 section 4.1.1.3).
const withheld = "anonymous"

// outside is a caller whose call comes over the trunk named with --from-trunk. Trunks are found as the edge finds
// them, by an address of theirs: one that has none cannot call.
func (t *try) outside(dir brain.Directory, req *api.RouteRequest) (found route.Caller, err error) {
	account, name, ok := strings.Cut(t.trunk, "/")
	if !ok {
		account, name = "", t.trunk
	}
	for _, source := range dir.TrunkSources() {
		ip, _, _ := strings.Cut(source, "/")
		acct, trunk := dir.TrunkBySource(ip)
		switch {
		case trunk == nil || trunk.Name != name || account != "" && acct.Account.Name != account:
		case found.Trunk != nil && found.Trunk.ID != trunk.ID:
			return found, fmt.Errorf("accounts %s and %s have a trunk %q: write ACCOUNT/%s", found.Account.Account.Name, acct.Account.Name, name, name)
		default:
			found.Account, found.Trunk, req.SourceIP = acct, trunk, ip
		}
	}
	if found.Trunk == nil {
		return found, fmt.Errorf("no active trunk %q with an inbound_acl", t.trunk)
	}
	number, domain, _ := strings.Cut(t.from, "@")
	req.Peer, req.FromUser, req.FromDomain = api.PeerTrunk, cmp.Or(number, withheld), cmp.Or(domain, "trunk.invalid")
	return found, nil
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
