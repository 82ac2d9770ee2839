package endpoint

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
)

// Rates are the price lists. Whose is an account's id, "" = the platform.
type Rates interface {
	// Import makes a file of rates that of a plan, or only says what that would change. brain.EInvalid says what is wrong with it.
	Import(ctx context.Context, actor, ownerID, plan string, csv []byte, dryRun bool) (*api.RateImport, error)
	// Show gives the rate of a number now, brain.ENotFound when there is none.
	Show(ctx context.Context, ownerID, plan, number string) (*api.RateShown, error)
}

// RegisterBalance puts the endpoints of money on a mux.
func (s *Server) RegisterBalance(mux Mux, w Wallet, rates Rates) {
	s.Wallet = w
	s.registerBalance(mux)
	imports := s.gate(http.MethodPost, forConfigWrite, func(r *http.Request, key brain.APIKey) (any, error) { return s.importRates(r, key, rates) })
	mux.HandleFunc(api.PathRateImport, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w) // without deadlines it needs none
		_ = control.SetReadDeadline(time.Now().Add(transferTime))
		_ = control.SetWriteDeadline(time.Now().Add(transferTime))
		imports.ServeHTTP(w, r)
	})
	mux.Handle(api.PathRates, s.gate(http.MethodGet, right{brain.ScopeConfigRead, brain.ScopePlatform}, func(r *http.Request, key brain.APIKey) (any, error) {
		owner, plan, err := s.planNamed(r, key)
		if err != nil {
			return nil, err
		}
		number := strings.TrimPrefix(r.URL.Query().Get("number"), "+")
		if len(number) > 15 || !digits(number) {
			return nil, badField(countBadType, "number", "is 1 to 15 digits, with the country code")
		}
		shown, err := rates.Show(r.Context(), owner, plan, number)
		if err != nil {
			return nil, rateFault(err)
		}
		return shown, nil
	}))
}

// importRates answers POST /rates/import?plan=&account_id=&dry_run=.
func (s *Server) importRates(r *http.Request, key brain.APIKey, rates Rates) (any, error) {
	owner, plan, err := s.planNamed(r, key)
	if err != nil {
		return nil, err
	}
	dry := false
	if text := r.URL.Query().Get("dry_run"); text != "" {
		if dry, err = strconv.ParseBool(text); err != nil {
			return nil, badField(countBadType, "dry_run", "is true or false")
		}
	}
	csv, err := io.ReadAll(io.LimitReader(r.Body, balance.MaxCSV+1))
	switch {
	case err != nil:
		return nil, brokenBody(err)
	case len(csv) > balance.MaxCSV:
		return nil, badBody(http.StatusRequestEntityTooLarge, countBadTooLarge, "a file of rates has at most %d bytes", balance.MaxCSV)
	}
	done, err := rates.Import(r.Context(), key.ID, owner, plan, csv, dry)
	if err != nil {
		return nil, rateFault(err)
	}
	s.Log.Info("rates imported", "plan", plan, "of", owner, "key", key.ID, "key_name", key.Name, "dry_run", dry, "added", done.Added, "changed", done.Changed, "ended", done.Ended)
	return done, nil
}

// planNamed reads which plan of whom is meant: without account_id the key's own, for a key of the platform the platform's.
func (s *Server) planNamed(r *http.Request, key brain.APIKey) (owner, plan string, err error) {
	query := r.URL.Query()
	if plan = query.Get("plan"); plan == "" {
		return "", "", badField(countBadType, "plan", "is missing")
	}
	if err := checkText("plan", plan, maxID); err != nil {
		return "", "", err
	}
	if query.Get("account_id") != "" || key.AccountID != "" {
		owner, err = s.account(r, key)
	}
	return owner, plan, err
}

// rateFault tells the asker what is wrong with his file or his plan.
func rateFault(err error) error {
	switch brain.CodeOf(err) {
	case brain.EInvalid:
		f := badBody(http.StatusBadRequest, countBadType, "%s", err)
		if file, ok := errors.AsType[*brain.Error](err); ok && len(file.Fields) > 0 {
			f = badBody(http.StatusBadRequest, countBadType, "%s", file.Text)
			f.lines = file.Fields
		}
		return f
	case brain.ENotFound:
		return badBody(http.StatusNotFound, countBadType, "%s", err)
	case brain.EConflict:
		return badBody(http.StatusConflict, countBadType, "%s", err)
	}
	return err
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
