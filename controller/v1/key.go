package v1

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

// keyRequest asks for a new API key.
type keyRequest struct {
	AccountID string `query:"account_id" doc:"the account it will belong to, absent for a key of the platform; for keys of the platform"`
	Body      struct {
		Name   string        `json:"name" minLength:"1" maxLength:"128"`
		Scopes []brain.Scope `json:"scopes" minItems:"1" nullable:"false"`
		Node   string        `json:"node,omitempty" maxLength:"64" doc:"name of the only node that the key speaks for: with the scope node alone, and for a key of the platform"`
	}
}

// keyReply shows the key itself, this once.
type keyReply struct {
	Location string `header:"Location"`
	Body     struct {
		Key    string       `json:"key" doc:"the key itself: shown now and never again"`
		APIKey brain.APIKey `json:"api_key"`
	}
}

func (a *API) registerKeyCreation() {
	huma.Register(a.huma, huma.Operation{
		Method: http.MethodPost, Path: collectionPath(brain.KindAPIKey), Tags: []string{string(brain.KindAPIKey)},
		OperationID: "create_api_key", Summary: "Create api key", DefaultStatus: http.StatusCreated,
	}, a.createKey)
}

func (a *API) createKey(ctx context.Context, in *keyRequest) (*keyReply, error) {
	who, accountID, err := rights{write: brain.ScopeKeys}.enter(ctx, in.AccountID, true)
	if err == nil {
		err = invalid(append(who.grant(accountID, nil, in.Body.Scopes), bound(accountID, in)...)...)
	}
	if err != nil {
		return nil, refuse("create api_key", err)
	}
	var token string
	var key brain.APIKey
	if in.Body.Node != "" {
		token, key, err = a.store.NewNodeKey(ctx, who.actor(), in.Body.Name, in.Body.Node)
	} else {
		token, key, err = a.store.NewKey(ctx, who.actor(), accountID, in.Body.Name, in.Body.Scopes)
	}
	if err != nil {
		return nil, refuse("create api_key", err)
	}
	out := &keyReply{Location: collectionPath(brain.KindAPIKey) + "/" + key.ID}
	out.Body.Key, out.Body.APIKey = token, key
	return out, nil
}

// bound refuses what a key that speaks for one node cannot be besides.
func bound(accountID string, in *keyRequest) []brain.FieldError {
	if in.Body.Node == "" || accountID == "" && len(in.Body.Scopes) == 1 && in.Body.Scopes[0] == brain.ScopeNode {
		return nil
	}
	return []brain.FieldError{{Path: "node", Text: "a key that speaks for one node is one of the platform and has the scope node and no other"}}
}

// regrant holds a change of a key or a console user to what its maker may grant. before is nil for a new one, after for one that goes.
func (c caller) regrant(before, after brain.Resource) []brain.FieldError {
	if key, ok := after.(*brain.APIKey); ok {
		return c.grant(key.AccountID, before.(*brain.APIKey).Scopes, key.Scopes)
	}
	for _, r := range []brain.Resource{before, after} {
		if u, ok := r.(*brain.ConsoleUser); ok {
			if text := c.users().Refuse(u.AccountID, u.Role); text != "" {
				return []brain.FieldError{{Path: "role", Text: text}}
			}
		}
	}
	return nil
}

// users is the caller as one who makes and changes console users.
func (c caller) users() *brain.UserGrant {
	return &brain.UserGrant{AccountID: c.key.AccountID, Scopes: c.key.Scopes}
}

// newUser is a resource that is to be made, if it is a console user: only those are bounded by who makes them, here.
func newUser(r brain.Resource) brain.Resource {
	if u, ok := r.(*brain.ConsoleUser); ok {
		return u
	}
	return nil
}
