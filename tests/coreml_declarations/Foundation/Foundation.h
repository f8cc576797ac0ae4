// The little of Foundation that the Core ML bridge uses; see ../README.md.
#pragma once

#ifndef nil
#define nil __null
#endif
#define YES __objc_yes
#define NO __objc_no

typedef signed char BOOL;
typedef long NSInteger;
typedef unsigned long NSUInteger;
typedef const struct CFDictionaryValue* CFDictionaryRef;
typedef const struct CFStringValue* CFStringRef;
typedef const struct CFAllocatorValue* CFAllocatorRef;
extern "C" const CFAllocatorRef _Nullable kCFAllocatorDefault;

_Pragma("clang assume_nonnull begin")

    @class NSString;
@class NSDictionary<KeyType, ObjectType>;

@protocol NSObject
- (BOOL)isKindOfClass:(Class)type;
@end

__attribute__((objc_root_class))
@interface NSObject<NSObject>
+ (instancetype)alloc;
+ (Class)class;
- (instancetype)init;
@end

typedef struct {
  unsigned long state;
  id __unsafe_unretained _Nullable* _Nullable itemsPtr;
  unsigned long* _Nullable mutationsPtr;
  unsigned long extra[5];
} NSFastEnumerationState;

@protocol NSFastEnumeration
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState*)state
                                  objects:(id __unsafe_unretained _Nullable[_Nonnull])buffer
                                    count:(NSUInteger)length;
@end

@protocol NSCopying
@end

@interface NSString : NSObject <NSCopying>
+ (nullable instancetype)stringWithUTF8String:(const char*)text;
@property(readonly, nullable) const char* UTF8String;
@end

@interface NSConstantString : NSString
@end

@interface NSNumber : NSObject
+ (NSNumber*)numberWithLongLong:(long long)value;
@property(readonly) long long longLongValue;
@end

@interface NSArray<__covariant ObjectType> : NSObject <NSFastEnumeration>
@property(readonly) NSUInteger count;
@property(nullable, readonly) ObjectType firstObject;
- (ObjectType)objectAtIndexedSubscript:(NSUInteger)index;
@end

@interface NSMutableArray<ObjectType> : NSArray <ObjectType>
+ (instancetype)array;
- (void)addObject:(ObjectType)object;
@end

@interface NSDictionary<__covariant KeyType, __covariant ObjectType> : NSObject <NSFastEnumeration>
+ (instancetype)dictionaryWithObjects:(const ObjectType _Nonnull[_Nullable])objects
                              forKeys:(const KeyType<NSCopying> _Nonnull[_Nullable])keys
                                count:(NSUInteger)count;
- (nullable ObjectType)objectForKeyedSubscript:(KeyType)key;
@end

@interface NSMutableDictionary<KeyType, ObjectType> : NSDictionary <KeyType, ObjectType>
+ (instancetype)dictionary;
- (void)setObject:(nullable ObjectType)object forKeyedSubscript:(KeyType<NSCopying>)key;
@end

@interface NSURL : NSObject
+ (NSURL*)fileURLWithPath:(NSString*)path isDirectory:(BOOL)is_folder;
@property(nullable, readonly) NSString* path;
@end

@interface NSError : NSObject
@property(readonly) NSString* domain;
@property(readonly) NSInteger code;
@property(readonly) NSString* localizedDescription;
@property(readonly) NSDictionary<NSString*, id>* userInfo;
@end
extern "C" NSString* const NSUnderlyingErrorKey;

@interface NSException : NSObject
@property(readonly) NSString* name;
@property(nullable, readonly) NSString* reason;
@end

_Pragma("clang assume_nonnull end")
