package endpoint

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

const (
	defaultPage = 100
	maxPage     = 500
)

// calls answers GET /calls?limit=&after=: the live calls of the key's account, of every account for
// a key of the platform.
func (s *Server) calls(r *http.Request, key brain.APIKey) (any, error) {
	limit, after, err := page(r)
	if err != nil {
		return nil, err
	}
	accounts := []string{key.AccountID}
	if key.AccountID == "" {
		if accounts, err = s.Presence.Accounts(r.Context()); err != nil {
			return nil, err
		}
	}
	return s.listCalls(r.Context(), accounts, limit, after)
}

// callKey orders calls over all accounts: by account, call id, node. It is also the cursor, so a
// call that ends or begins between two pages moves no other one across them.
type callKey [3]string

func keyOf(c api.Call) callKey { return callKey{c.AccountID, c.CallID, c.Node} }

func (k callKey) compare(other callKey) int { return slices.Compare(k[:], other[:]) }

// listCalls collects one page of calls after a key from accounts, which are sorted.
func (s *Server) listCalls(ctx context.Context, accounts []string, limit int, after callKey) (*api.CallList, error) {
	list := &api.CallList{Calls: []api.Call{}}
	for _, account := range accounts {
		if account < after[0] {
			continue
		}
		calls, err := s.Presence.Calls(ctx, account)
		if err != nil {
			return nil, err
		}
		calls = slices.DeleteFunc(slices.Clone(calls), func(c api.Call) bool { return keyOf(c).compare(after) <= 0 })
		slices.SortFunc(calls, func(a, b api.Call) int { return keyOf(a).compare(keyOf(b)) })
		list.Calls = append(list.Calls, calls...)
		if len(list.Calls) > limit {
			list.Calls = list.Calls[:limit]
			list.Next = keyOf(list.Calls[limit-1]).cursor()
			break
		}
	}
	return list, nil
}

// cursor writes a key so that it can stand in a URL. Callers must not read anything into it.
func (k callKey) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(k[:], "\x00")))
}

// page reads limit and after.
func page(r *http.Request) (limit int, after callKey, err error) {
	q := r.URL.Query()
	for name, values := range q {
		if name != "limit" && name != "after" {
			return 0, after, badField(countBadUnknownField, quote(name), "there is no such parameter")
		}
		if len(values) > 1 {
			return 0, after, badField(countBadDuplicate, name, "given twice")
		}
	}
	limit, err = strconv.Atoi(cmp.Or(q.Get("limit"), strconv.Itoa(defaultPage)))
	if err != nil || limit < 1 || limit > maxPage {
		return 0, after, badField(countBadType, "limit", "give a number from 1 to %d", maxPage)
	}
	if q.Get("after") == "" {
		return limit, after, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(q.Get("after"))
	parts := strings.Split(string(raw), "\x00")
	if err != nil || len(parts) != len(after) {
		return 0, after, badField(countBadType, "after", "give the next of the page before")
	}
	return limit, callKey(parts), nil
}
