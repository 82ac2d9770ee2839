package v1

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sipio/sipio/brain"
)

// row is a pointer to a configuration type: what makes one generic collection serve all of them.
type row[T any] interface {
	*T
	brain.Resource
}

// collection is the five operations on one kind.
type collection[T any, P row[T]] struct {
	*API
	kind   brain.Kind
	rights rights
	shape  *shape[T, P]
}

type listRequest struct {
	AccountID string `query:"account_id" doc:"only this account's; for keys of the platform"`
	After     string `query:"after" doc:"the id after which to go on: next of the page before"`
	Limit     int    `query:"limit" default:"100" minimum:"1" maximum:"500"`
}

type page[P any] struct {
	Body struct {
		Items []P    `json:"items" nullable:"false"`
		Next  string `json:"next,omitempty" doc:"give it as after to get the next page; absent on the last"`
	}
}

type oneRequest struct {
	AccountID string `query:"account_id" doc:"for keys of the platform: refuse a resource of another account"`
	ID        string `path:"id"`
}

type changeRequest struct {
	AccountID string `query:"account_id" doc:"for keys of the platform: refuse a resource of another account"`
	ID        string `path:"id"`
	RawBody   []byte
}

type createRequest struct {
	AccountID string `query:"account_id" doc:"the account it will belong to; for keys of the platform"`
	RawBody   []byte
}

type oneReply[P any] struct{ Body P }

type changeReply[P any] struct {
	Version  int64  `header:"X-Sipio-Config-Version" doc:"configuration version that the change made"`
	Location string `header:"Location"`
	Body     P
}

type deleteReply struct {
	Version int64 `header:"X-Sipio-Config-Version" doc:"configuration version that the change made"`
}

// collectionPath is the plural of a kind under Prefix.
func collectionPath(kind brain.Kind) string { return Prefix + "/" + string(kind) + "s" }

func collectionOf[T any, P row[T]](a *API, kind brain.Kind, who rights) *collection[T, P] {
	return &collection[T, P]{API: a, kind: kind, rights: who, shape: shapeOf[T, P](a.huma.OpenAPI().Components.Schemas, kind)}
}

// registerOne registers what can be done with each resource that is there.
func (c *collection[T, P]) registerOne() {
	one := collectionPath(c.kind) + "/{id}"
	huma.Register(c.huma, c.operation(http.MethodGet, one, "Get", nil), c.get)
	huma.Register(c.huma, c.operation(http.MethodDelete, one, "Delete", nil), c.delete)
	register(c.huma, c.operation(http.MethodPut, one, "Replace", c.shape.whole), c.replace)
	register(c.huma, c.operation(http.MethodPatch, one, "Change", c.shape.part), c.change)
}

func registerCollection[T any, P row[T]](a *API, kind brain.Kind, who rights) *collection[T, P] {
	c := collectionOf[T, P](a, kind, who)
	path, shape := collectionPath(kind), c.shape
	huma.Register(a.huma, c.operation(http.MethodGet, path, "List", nil), c.list)
	c.registerOne()
	if kind != brain.KindAPIKey { // see registerKeyCreation
		create := c.operation(http.MethodPost, path, "Create", shape.whole)
		create.DefaultStatus = http.StatusCreated
		register(a.huma, create, c.create)
	}
	return c
}

// register registers an operation whose JSON body is checked against a schema and handed on as it
// came: only the bytes tell a member that was not given from one that is empty.
func register[I, O any](api huma.API, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	op.MaxBodyBytes, op.BodyReadTimeout = MaxBody+1, 30*time.Second
	huma.Register(api, op, do)
	delete(op.RequestBody.Content, "application/octet-stream")
}

func (c *collection[T, P]) operation(method, path, verb string, body *huma.Schema) huma.Operation {
	name := strings.ReplaceAll(string(c.kind), "_", " ")
	op := huma.Operation{
		Method: method, Path: path, Tags: []string{string(c.kind)},
		OperationID: strings.ToLower(verb) + "_" + string(c.kind),
		Summary:     verb + " " + name,
	}
	if method == http.MethodPatch {
		op.Description = "Changes the given members only; null sets a member back to its default."
	}
	if body != nil {
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: body}}}
	}
	return op
}

func (c *collection[T, P]) doing(verb string) string { return verb + " " + string(c.kind) }

func (c *collection[T, P]) list(ctx context.Context, in *listRequest) (*page[P], error) {
	_, accountID, err := c.rights.enter(ctx, in.AccountID, false)
	if err != nil {
		return nil, refuse(c.doing("list"), err)
	}
	found, err := c.store.List(ctx, c.kind, accountID, in.After, in.Limit)
	if err != nil {
		return nil, refuse(c.doing("list"), err)
	}
	return pageOf[P](found, in.Limit), nil
}

func pageOf[P brain.Resource](found []brain.Resource, limit int) *page[P] {
	out := &page[P]{}
	out.Body.Items = make([]P, 0, len(found))
	for _, r := range found {
		out.Body.Items = append(out.Body.Items, brain.Redact(r).(P))
	}
	if len(found) == limit { // a last page that happens to be full is followed by an empty one
		out.Body.Next = found[len(found)-1].ResourceID()
	}
	return out
}

func (c *collection[T, P]) get(ctx context.Context, in *oneRequest) (*oneReply[P], error) {
	_, accountID, err := c.rights.enter(ctx, in.AccountID, false)
	if err != nil {
		return nil, refuse(c.doing("get"), err)
	}
	r, err := c.store.Get(ctx, c.kind, accountID, in.ID)
	if err != nil {
		return nil, refuse(c.doing("get"), err)
	}
	return &oneReply[P]{brain.Redact(r).(P)}, nil
}

func (c *collection[T, P]) create(ctx context.Context, in *createRequest) (*changeReply[P], error) {
	who, accountID, err := c.rights.enter(ctx, in.AccountID, true)
	if err != nil {
		return nil, refuse(c.doing("create"), err)
	}
	fresh := c.shape.fresh()
	if err := setOwner(P(&fresh), accountID); err != nil {
		return nil, refuse(c.doing("create"), err)
	}
	made, err := c.shape.overlay(fresh, in.RawBody)
	if err == nil {
		err = invalid(append(who.regrant(nil, newUser(P(&made))), twoSecrets(P(&made))...)...)
	}
	if err != nil {
		return nil, refuse(c.doing("create"), err)
	}
	c.write.Lock()
	defer c.write.Unlock()
	version, err := c.store.Change(ctx, who.actor(), brain.Change{Op: brain.OpCreate, Resource: P(&made)})
	if err != nil {
		return nil, refuse(c.doing("create"), err)
	}
	return &changeReply[P]{version, collectionPath(c.kind) + "/" + P(&made).ResourceID(), brain.Redact(P(&made)).(P)}, nil
}

// setOwner gives a new resource its account; accounts and nodes belong to the platform.
func setOwner(r brain.Resource, accountID string) error {
	switch r := r.(type) {
	case *brain.Account, *brain.Node:
		return nil
	case *brain.RatePlan: // of the platform without an account
		r.AccountID = accountID
		return nil
	case *brain.ConsoleUser: // likewise
		r.AccountID = accountID
		return nil
	case *brain.SIPDomain:
		r.AccountID = accountID
	case *brain.SIPUser:
		r.AccountID = accountID
	case *brain.SIPDevice:
		r.AccountID = accountID
	case *brain.Extension:
		r.AccountID = accountID
	case *brain.RingGroup:
		r.AccountID = accountID
	case *brain.CallLimit:
		r.AccountID = accountID
	case *brain.TimeSchedule:
		r.AccountID = accountID
	case *brain.MediaFile:
		r.AccountID = accountID
	case *brain.MediaPlaylist:
		r.AccountID = accountID
	case *brain.Voicemail:
		r.AccountID = accountID
	case *brain.Conference:
		r.AccountID = accountID
	case *brain.CallFlow:
		r.AccountID = accountID
	case *brain.DID:
		r.AccountID = accountID
	case *brain.SIPTrunk:
		r.AccountID = accountID
	case *brain.OutboundRoute:
		r.AccountID = accountID
	case *brain.Forward:
		r.AccountID = accountID
	case *brain.Secret:
		r.AccountID = accountID
	case *brain.Queue:
		r.AccountID = accountID
	case *brain.AgentQueueAssignment:
		r.AccountID = accountID
	case *brain.InQueueOption:
		r.AccountID = accountID
	default:
		return fmt.Errorf("no owner known for a %s", r.ResourceKind())
	}
	if accountID == "" {
		return invalid(brain.FieldError{Path: "query.account_id", Text: "is required with a key of the platform: whose is it?"})
	}
	return nil
}

// replace is PUT: what the body leaves out has its default afterwards.
func (c *collection[T, P]) replace(ctx context.Context, in *changeRequest) (*changeReply[P], error) {
	return c.update(ctx, in, func(before T) T {
		base := c.shape.fresh()
		c.shape.keep(&base, before)
		return base
	})
}

// change is PATCH: what the body leaves out stays.
func (c *collection[T, P]) change(ctx context.Context, in *changeRequest) (*changeReply[P], error) {
	return c.update(ctx, in, func(before T) T { return before })
}

// update lays a body over a base made from the resource as it is, and stores the outcome.
func (c *collection[T, P]) update(ctx context.Context, in *changeRequest, base func(before T) T) (*changeReply[P], error) {
	who, accountID, err := c.rights.enter(ctx, in.AccountID, true)
	if err != nil {
		return nil, refuse(c.doing("change"), err)
	}
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.store.Level(ctx); err != nil {
		return nil, refuse(c.doing("change"), err)
	}
	for attempt := 1; ; attempt++ {
		before, err := c.store.Get(ctx, c.kind, accountID, in.ID)
		if err != nil {
			return nil, refuse(c.doing("change"), err)
		}
		after, err := c.merge(who, before, in.RawBody, base)
		if err != nil {
			return nil, refuse(c.doing("change"), err)
		}
		version, err := c.store.Change(ctx, who.actor(), brain.Change{Op: brain.OpUpdate, Resource: after, Before: before})
		if err == nil {
			return &changeReply[P]{Version: version, Body: brain.Redact(after).(P)}, nil
		}
		if attempt == maxMerges || !c.overtaken(ctx, accountID, before, err) {
			return nil, refuse(c.doing("change"), err)
		}
	}
}

// maxMerges bounds how often a body is laid over a resource that another brain keeps changing.
const maxMerges = 10

// overtaken says whether a change was refused because the resource is not what it was made from.
func (c *collection[T, P]) overtaken(ctx context.Context, accountID string, before brain.Resource, refused error) bool {
	if brain.CodeOf(refused) != brain.EConflict {
		return false
	}
	now, err := c.store.Get(ctx, c.kind, accountID, before.ResourceID())
	return err == nil && !reflect.DeepEqual(now, before)
}

// merge lays a body over a resource without its secrets: a secret that is there afterwards was given, and where none is, the store
// keeps what it has.
func (c *collection[T, P]) merge(who caller, before brain.Resource, body []byte, base func(T) T) (P, error) {
	onto := base(*brain.Clone(before).(P))
	after, err := c.shape.overlay(*brain.Redact(P(&onto)).(P), body)
	if err != nil {
		return nil, err
	}
	return P(&after), invalid(append(who.regrant(before, P(&after)), twoSecrets(P(&after))...)...)
}

func (c *collection[T, P]) delete(ctx context.Context, in *oneRequest) (*deleteReply, error) {
	who, accountID, err := c.rights.enter(ctx, in.AccountID, true)
	if err != nil {
		return nil, refuse(c.doing("delete"), err)
	}
	c.write.Lock()
	defer c.write.Unlock()
	if err := c.store.Level(ctx); err != nil {
		return nil, refuse(c.doing("delete"), err)
	}
	r, err := c.store.Get(ctx, c.kind, accountID, in.ID)
	if err != nil {
		return nil, refuse(c.doing("delete"), err)
	}
	if user, ok := r.(*brain.ConsoleUser); ok {
		if err := invalid(who.regrant(user, nil)...); err != nil {
			return nil, refuse(c.doing("delete"), err)
		}
	}
	version, err := c.store.Change(ctx, who.actor(), brain.Change{Op: brain.OpDelete, Resource: r})
	if err != nil {
		return nil, refuse(c.doing("delete"), err)
	}
	return &deleteReply{version}, nil
}
