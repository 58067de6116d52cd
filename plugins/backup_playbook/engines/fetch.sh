# fetch NAME STORED_SHA256 CONTENT_SHA256: the content of an object; fails unless every byte is as it was backed up
fetch() {
    mkfifo "$work/stored" "$work/content"
    sha256sum < "$work/stored" > "$work/stored.sum" & local stored=$!
    sha256sum < "$work/content" > "$work/content.sum" & local content=$!
    aws s3 cp --only-show-errors "$objects/$1" - | tee "$work/stored" | @DECODE@ | tee "$work/content"
    local codes=("${PIPESTATUS[@]}")
    wait $stored $content
    rm "$work/stored" "$work/content"
    [[ ${codes[-1]} != 141 ]] || return 1 # whoever was reading stopped in the middle, and says why
    [[ $(<"$work/stored.sum") == "$2  -" && $(<"$work/content.sum") == "$3  -" ]] || { echo "$1 is damaged." >&2; return 1; }
}
