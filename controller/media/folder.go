package media

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// Folders of the store's own. No key begins with a dot.
const (
	newFolder = ".new" // files that are being written
	sumFolder = ".sum" // what is known of each object's sum
)

// leftoverAge is how old a half-written file must be before an opening takes it away: others may share the folder.
const leftoverAge = 24 * time.Hour

var errUnsupported = errors.New("the folder store cannot do that")

// folder keeps each object in the file of its name. gocloud.dev has such a driver, fileblob, which does not wait
// for the disk: after a power failure an object could be there, and empty. Here a file is on disk before it gets
// its name, and the name before Close returns.
type folder struct {
	root string
	mu   sync.Mutex // held while folders are made or removed
}

func openFolder(root string) (*folder, error) {
	f := &folder{root: root}
	for _, sub := range []string{newFolder, sumFolder} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o750); err != nil {
			return nil, err
		}
	}
	left, err := os.ReadDir(filepath.Join(root, newFolder))
	if err != nil {
		return nil, err
	}
	for _, e := range left {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftoverAge {
			_ = os.Remove(filepath.Join(root, newFolder, e.Name())) // tried again at the next opening
		}
	}
	return f, nil
}

func (f *folder) path(key string) string { return filepath.Join(f.root, filepath.FromSlash(key)) }

func (f *folder) Close() error                { return nil }
func (f *folder) As(any) bool                 { return false }
func (f *folder) ErrorAs(error, any) bool     { return false }
func (f *folder) sumPath(key string) string   { return f.path(sumFolder + "/" + key) }
func (f *folder) tempFile() (*os.File, error) { return os.CreateTemp(f.path(newFolder), "*") }

func (f *folder) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gcerrors.NotFound
	case errors.Is(err, errUnsupported):
		return gcerrors.Unimplemented
	case errors.Is(err, context.Canceled):
		return gcerrors.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return gcerrors.DeadlineExceeded
	}
	return gcerrors.Unknown
}

// stat finds the file of a key. A folder is no object.
func (f *folder) stat(key string) (os.FileInfo, error) {
	info, err := os.Stat(f.path(key))
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fs.ErrNotExist
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fs.ErrNotExist // a/b where a is an object
	}
	return info, err
}

func (f *folder) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	info, err := f.stat(key)
	if err != nil {
		return nil, err
	}
	sum, err := f.sum(ctx, key, info)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{ContentType: contentType, ModTime: info.ModTime(), Size: info.Size(),
		Metadata: map[string]string{sumName: sum}}, nil
}

// note is what is remembered of an object's sum. The object itself is the truth: a note that does not fit its
// size and time says nothing, and the sum is made again.
func note(sum string, info os.FileInfo) string {
	return fmt.Sprintf("%s %d %d\n", sum, info.Size(), info.ModTime().UnixNano())
}

func (f *folder) sum(ctx context.Context, key string, info os.FileInfo) (string, error) {
	if b, err := os.ReadFile(f.sumPath(key)); err == nil {
		if sum, _, _ := strings.Cut(string(b), " "); string(b) == note(sum, info) {
			return sum, nil
		}
	}
	file, err := os.Open(f.path(key))
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, bound{ctx, file}); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	f.remember(key, sum, info)
	return sum, nil
}

// remember writes the note of an object. Without one the sum is made again, so a failure is none.
func (f *folder) remember(key, sum string, info os.FileInfo) {
	temp, err := f.tempFile()
	if err != nil {
		return
	}
	_, err = temp.WriteString(note(sum, info))
	if errors.Join(err, temp.Close()) == nil && f.rename(temp.Name(), f.sumPath(key)) == nil {
		return
	}
	_ = os.Remove(temp.Name()) // openFolder finds it otherwise
}

// rename gives a file its place, and makes the folders on the way.
func (f *folder) rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.makeFolder(filepath.Dir(to)); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// makeFolder makes a folder and those above it, each safe on disk.
func (f *folder) makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil || dir == f.root {
		return nil
	}
	if err := f.makeFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

// syncFolder waits until the names in a folder are on disk.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *folder) NewRangeReader(ctx context.Context, key string, offset, length int64, o *driver.ReaderOptions) (driver.Reader, error) {
	info, err := f.stat(key)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(f.path(key))
	if err != nil {
		return nil, err
	}
	if o.BeforeRead != nil {
		err = o.BeforeRead(func(any) bool { return false })
	}
	if _, seek := file.Seek(offset, io.SeekStart); err != nil || seek != nil {
		_ = file.Close() // the first error says why
		return nil, errors.Join(err, seek)
	}
	r := &folderReader{file: file, Reader: bound{ctx, file}, attrs: driver.ReaderAttributes{
		ContentType: contentType, ModTime: info.ModTime(), Size: info.Size()}}
	if length >= 0 {
		r.Reader = io.LimitReader(r.Reader, length)
	}
	return r, nil
}

type folderReader struct {
	io.Reader
	file  *os.File
	attrs driver.ReaderAttributes
}

func (r *folderReader) Close() error                         { return r.file.Close() }
func (r *folderReader) Attributes() *driver.ReaderAttributes { return &r.attrs }
func (r *folderReader) As(any) bool                          { return false }

// bound is a reader that ends with a context.
type bound struct {
	ctx context.Context
	r   io.Reader
}

func (b bound) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}

func (f *folder) NewTypedWriter(ctx context.Context, key, _ string, o *driver.WriterOptions) (driver.Writer, error) {
	if o.IfNotExist {
		return nil, errUnsupported
	}
	if o.BeforeWrite != nil {
		if err := o.BeforeWrite(func(any) bool { return false }); err != nil {
			return nil, err
		}
	}
	file, err := f.tempFile()
	if err != nil {
		return nil, err
	}
	return &folderWriter{ctx: ctx, folder: f, key: key, file: file, hash: sha256.New()}, nil
}

// folderWriter writes one object. Nobody sees it before Close.
type folderWriter struct {
	ctx    context.Context
	folder *folder
	key    string
	file   *os.File
	hash   hash.Hash
	failed error
}

func (w *folderWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.failed = errors.Join(w.failed, err)
	return n, err
}

func (w *folderWriter) Close() error {
	info, err := w.finish()
	if err != nil {
		_ = os.Remove(w.file.Name()) // openFolder finds it otherwise
		return err
	}
	to := w.folder.path(w.key)
	if err := w.folder.rename(w.file.Name(), to); err != nil {
		_ = os.Remove(w.file.Name())
		return err
	}
	w.folder.remember(w.key, hex.EncodeToString(w.hash.Sum(nil)), info)
	return syncFolder(filepath.Dir(to))
}

// finish has the content on disk, unless somebody gave up.
func (w *folderWriter) finish() (os.FileInfo, error) {
	err := errors.Join(w.failed, w.ctx.Err())
	if err == nil {
		err = w.file.Sync()
	}
	info, stat := w.file.Stat()
	return info, errors.Join(err, stat, w.file.Close())
}

func (f *folder) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errUnsupported
}

func (f *folder) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnsupported
}

func (f *folder) Delete(_ context.Context, key string, o *driver.DeleteOptions) error {
	if _, err := f.stat(key); err != nil {
		return err
	}
	if o.BeforeDelete != nil {
		if err := o.BeforeDelete(func(any) bool { return false }); err != nil {
			return err
		}
	}
	if err := os.Remove(f.path(key)); err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(f.path(key))); err != nil {
		return err
	}
	_ = os.Remove(f.sumPath(key)) // a note without its object is never read
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, top := range []string{"", sumFolder + "/"} {
		for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
			if os.Remove(f.path(top+dir)) != nil {
				break // not empty
			}
		}
	}
	return nil
}
