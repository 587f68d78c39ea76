#!/bin/sh
# Scenes to learn from without a data set: cut-outs and photographs of Debian packages (free licences, told in each package's copyright file), and
# specifications that put the one on the other for `hrseg train --data procedural:FOLDER/scenes.toml --val procedural:FOLDER/scenes-held.toml`.
# Needs apt and dpkg of Debian or a relative of it; installs nothing.
set -eu

to=${1:?usage: scripts/free-scenes.sh FOLDER}
mkdir -p "$to"
to=$(cd "$to" && pwd)
[ -e "$to/scenes.toml" ] && { echo "$to/scenes.toml is there already: choose another folder" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

photos="gnome-backgrounds lomiri-wallpapers lxqt-themes mate-backgrounds plasma-workspace-wallpapers ukui-wallpapers"
for package in tuxpaint-stamps-default $photos; do
    echo "$package ..."
    apt-get download "$package" >/dev/null 2>"$package.log" || { cat "$package.log" >&2; exit 1; }
    dpkg-deb -x "$package"_*.deb "$package"
done
mkdir "$to/cutouts" "$to/cutouts-held" "$to/photos" "$to/photos-held"

# one of so many, by name: the same on every machine
held() { [ $(($(printf %s "$1" | cksum | cut -d ' ' -f 1) % $2)) -eq 0 ] && echo -held || true; }

find tuxpaint-stamps-default -name '*.png' -size +20k | sort | while read -r file; do
    name=${file#*/stamps/}
    case $name in symbols/* | *alphabet* | *cartoon* | *flags* | *_mirror* | *_flip*) continue ;; esac
    # the colour types that have transparency
    case $(od -An -tu1 -j25 -N1 "$file" | tr -d ' ') in 4 | 6) ;; *) continue ;; esac
    cp "$file" "$to/cutouts$(held "$name" 8)/$(printf %s "$name" | tr / _)"
done
pictures='-type f -size +200k ( -name *.png -o -name *.jpg -o -name *.jpeg )'
set -f # the patterns are find's
for package in $photos; do
    find "$package" $pictures -printf '%h\n' | sort -u | while read -r folder; do
        # a folder called images has one wallpaper in several sizes: the largest is enough
        most=1000
        case $folder in */images) most=1 ;; esac
        find "$folder" -maxdepth 1 $pictures -printf '%s %p\n' | sort -rn | head -n "$most" | while read -r _ file; do
            cp "$file" "$to/photos$(held "$folder" 5)/$(printf %s "${file#*/usr/share/}" | tr / _)"
        done
    done
done

spec() { # name, task and its keys, folders
    {
        printf '%s\nsize = [700, 1000]\nextent = [0.25, 0.8]\nalike = 0.1\n' "$2"
        printf 'background_photos = "photos%s"\ncutouts = "cutouts%s"\n' "$3" "$3"
        printf '[kinds]\ncutout = 8\nlattice = 0.5\nnet = 0.5\nhair = 0.5\nleaves = 0.7\nspokes = 0.7\nwires = 0.5\ntext = 0.5\nblob = 0.5\nring = 0.5\npolygon = 0.5\n'
        printf '[backgrounds]\nphoto = 4\nnoise = 1\n'
    } > "$to/$1.toml"
}
for held in "" -held; do
    spec "scenes$held" 'task = "prompted"
objects = [1, 4]' "$held"
    spec "single$held" 'task = "salient"' "$held"
done
for folder in cutouts cutouts-held photos photos-held; do
    echo "$(find "$to/$folder" -type f | wc -l) files in $to/$folder"
done
echo "look at some: hrseg data make procedural:$to/scenes.toml -o some --count 12"
