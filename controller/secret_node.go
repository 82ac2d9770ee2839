package controller

import (
	"context"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/secret"
)

// ofNode opens what a node's row has sealed.
func (s *secrets) ofNode(n *brain.Node) (token, accessSecret string, err error) {
	into := [...]*string{&token, &accessSecret}
	for i, one := range n.Secrets() {
		if *one.Sealed == "" {
			continue
		}
		value, err := s.box.Open("", n.SealedAs(one), *one.Sealed)
		if err != nil {
			return "", "", err
		}
		*into[i] = string(value)
	}
	return token, accessSecret, nil
}

// missingOfNodes names the secrets of nodes that cannot be opened, with the key that each is sealed with.
func (s *secrets) missingOfNodes(ctx context.Context) (names, sealedWith []string, err error) {
	err = s.eachNode(ctx, func(n *brain.Node) error {
		for _, one := range n.Secrets() {
			if *one.Sealed == "" {
				continue
			}
			if _, err := s.box.Open("", n.SealedAs(one), *one.Sealed); err != nil {
				names, sealedWith = append(names, "node "+n.Name+"/"+one.Field), append(sealedWith, secret.SealedWith(*one.Sealed))
			}
		}
		return nil
	})
	return names, sealedWith, err
}

// eachNode gives fn every node, until it fails.
func (s *secrets) eachNode(ctx context.Context, fn func(*brain.Node) error) error {
	for after := ""; ; {
		page, err := s.store.List(ctx, brain.KindNode, "", after, config.MaxList)
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := fn(r.(*brain.Node)); err != nil {
				return err
			}
		}
		if len(page) < config.MaxList {
			return nil
		}
		after = page[len(page)-1].ResourceID()
	}
}

// rotateNodes seals anew what nodes' rows have sealed with another key than the first. A node that is changed meanwhile is left to
// the next rotation, and counted as failed.
func (s *secrets) rotateNodes(ctx context.Context, actor string, done *api.SecretRotation) error {
	return s.eachNode(ctx, func(n *brain.Node) error {
		fresh, changed := *n, 0
		for _, one := range fresh.Secrets() {
			switch {
			case *one.Sealed == "":
				continue
			case secret.SealedWith(*one.Sealed) == s.box.KeyID():
				done.Already++
				continue
			}
			value, err := s.box.Open("", n.SealedAs(one), *one.Sealed)
			if err != nil {
				s.failed(done, n, one.Field, err)
				continue
			}
			if *one.Sealed, err = s.box.Seal("", n.SealedAs(one), value); err != nil {
				return err
			}
			changed++
		}
		if changed == 0 {
			return nil
		}
		_, err := s.store.Change(ctx, actor, brain.Change{Op: brain.OpUpdate, Resource: &fresh, Before: n})
		if brain.CodeOf(err) == brain.EConflict || brain.CodeOf(err) == brain.ENotFound {
			s.failed(done, n, "", err)
			return nil
		}
		done.Resealed += changed
		return err
	})
}

func (s *secrets) failed(done *api.SecretRotation, n *brain.Node, field string, err error) {
	done.Failed++
	if len(done.Which) < api.MaxSecretsFailed {
		done.Which = append(done.Which, api.SecretFailed{Name: "node " + n.Name + " " + field, Why: err.Error()})
	}
}
