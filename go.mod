module github.com/libvtx/libvtx

go 1.26
