package media

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"gocloud.dev/blob/driver"
)

// pageSize is how many objects one page of a listing has at most.
const pageSize = 1000

// ListPaged lists the objects after the one that the token names.
func (f *folder) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	if o.Delimiter != "" {
		return nil, errUnsupported
	}
	if o.BeforeList != nil {
		if err := o.BeforeList(func(any) bool { return false }); err != nil {
			return nil, err
		}
	}
	l := &listing{ctx: ctx, folder: f, prefix: o.Prefix, after: string(o.PageToken), room: pageSize}
	if o.PageSize > 0 {
		l.room = o.PageSize
	}
	err := l.walk("")
	if errors.Is(err, errFull) {
		err = nil
		l.page.NextPageToken = []byte(l.page.Objects[len(l.page.Objects)-1].Key)
	}
	return &l.page, err
}

var errFull = errors.New("the page is full")

type listing struct {
	ctx    context.Context
	folder *folder
	prefix string
	after  string
	room   int
	page   driver.ListPage
}

// walk lists a folder and those in it, in the order of keys: a folder's place is that of its name and a slash.
func (l *listing) walk(dir string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.folder.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(entries))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		key := dir + e.Name()
		if e.IsDir() {
			key += "/"
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if err := l.visit(key); err != nil {
			return err
		}
	}
	return nil
}

func (l *listing) visit(key string) error {
	if strings.HasSuffix(key, "/") {
		inside := strings.HasPrefix(key, l.prefix) || strings.HasPrefix(l.prefix, key)
		if inside && (key > l.after || strings.HasPrefix(l.after, key)) {
			return l.walk(key)
		}
		return nil
	}
	if key <= l.after || !strings.HasPrefix(key, l.prefix) {
		return nil
	}
	if len(l.page.Objects) == l.room {
		return errFull
	}
	info, err := l.folder.stat(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	l.page.Objects = append(l.page.Objects, &driver.ListObject{Key: key, ModTime: info.ModTime(), Size: info.Size()})
	return nil
}
