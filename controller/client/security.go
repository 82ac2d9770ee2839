package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sipio/sipio/brain/api"
)

// Bans returns every ban, or those that a node enforces, by address.
func (c *Client) Bans(ctx context.Context, node string) ([]api.Ban, error) {
	var all []api.Ban
	query := url.Values{"limit": {strconv.Itoa(api.MaxBanPage)}}
	if node != "" {
		query.Set("node", node)
	}
	for {
		var page api.BanList
		if err := c.get(ctx, api.PathSecurityBans, query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Bans...)
		if page.Next == "" {
			return all, nil
		}
		if page.Next == query.Get("after") {
			return nil, fmt.Errorf("list bans: the brain answers the same page again")
		}
		query.Set("after", page.Next)
	}
}

// Offenders returns everybody who is remembered to have offended, banned or not, by address.
func (c *Client) Offenders(ctx context.Context) (all []api.BanAbout, err error) {
	query := url.Values{"limit": {strconv.Itoa(api.MaxBanPage)}, "offenders": {"true"}}
	for {
		var page api.BanList
		if err := c.get(ctx, api.PathSecurityBans, query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Offenders...)
		if page.Next == "" {
			return all, nil
		}
		if page.Next == query.Get("after") {
			return nil, fmt.Errorf("list offenders: the brain answers the same page again")
		}
		query.Set("after", page.Next)
	}
}

// Ban returns the ban of an address, if there is one, and what else is known of it.
func (c *Client) Ban(ctx context.Context, addr string) (list api.BanList, err error) {
	return list, c.get(ctx, api.PathSecurityBans, url.Values{"addr": {addr}}, &list)
}

// AddBan bans an address at every node.
func (c *Client) AddBan(ctx context.Context, req api.BanRequest) (done api.BanReply, err error) {
	return done, c.post(ctx, api.PathSecurityBans, "", req, &done)
}

// LiftBan ends whatever bans an address, at every node.
func (c *Client) LiftBan(ctx context.Context, addr string) (done api.BanReply, err error) {
	return done, c.remove(ctx, api.PathSecurityBans, url.Values{"addr": {addr}}, &done)
}

// Allowed returns the allow list.
func (c *Client) Allowed(ctx context.Context) (list api.AllowList, err error) {
	return list, c.get(ctx, api.PathSecurityAllow, nil, &list)
}

// Allow puts a network on the allow list.
func (c *Client) Allow(ctx context.Context, req api.AllowRequest) (list api.AllowList, err error) {
	return list, c.post(ctx, api.PathSecurityAllow, "", req, &list)
}

// Disallow takes a network off the allow list.
func (c *Client) Disallow(ctx context.Context, network string) (list api.AllowList, err error) {
	return list, c.remove(ctx, api.PathSecurityAllow, url.Values{"net": {network}}, &list)
}

// remove deletes what a query names and reads what the brain says to that.
func (c *Client) remove(ctx context.Context, path string, query url.Values, into any) error {
	raw, _, err := c.do(ctx, http.MethodDelete, path, query, "", nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the reply of %s: %w", path, err)
	}
	return nil
}
